# Cross-building for 64-bit ARM with Debian's gcc-aarch64-linux-gnu; tests run under qemu-user (package qemu-user-static).
# ARM64_SYSROOT, in the environment, names the folder that holds the arm64 libraries of setup.sh (their packages unpacked: apt-get download and
# dpkg-deb -x will do). Used by the preset arm64; docs/hardening.md says what passes.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(arm64_emulator qemu-aarch64-static)
set(arm64_root $ENV{ARM64_SYSROOT})
if(arm64_root)
  set(CMAKE_SYSROOT ${arm64_root})
  set(CMAKE_FIND_ROOT_PATH ${arm64_root})
  set(ENV{PKG_CONFIG_SYSROOT_DIR} ${arm64_root})
  list(APPEND arm64_emulator -L ${arm64_root})
endif()
# Debian keeps OpenBLAS in a folder of its own.
set(arm64_lib /usr/lib/aarch64-linux-gnu)
set(ENV{PKG_CONFIG_LIBDIR} ${arm64_root}${arm64_lib}/pkgconfig:${arm64_root}${arm64_lib}/openblas-pthread/pkgconfig:${arm64_root}/usr/share/pkgconfig)
set(CMAKE_CROSSCOMPILING_EMULATOR "${arm64_emulator};-E;LD_LIBRARY_PATH=${arm64_lib}:${arm64_lib}/openblas-pthread")
