# What `cmake --install` puts where, the library, and the Debian packages (`cpack -G DEB` in the build folder).
include(GNUInstallDirs)
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON) # what is installed and packed is built before; the tests need not be

# ---- manual pages and completions, printed by the program from its tables of options
set(words_dir ${CMAKE_BINARY_DIR}/words)
file(MAKE_DIRECTORY ${words_dir})
set(words_outputs)
function(wt_words what output)
  add_custom_command(OUTPUT ${words_dir}/${output} COMMAND wattune --words ${what} > ${words_dir}/${output} DEPENDS wattune VERBATIM)
  set(words_outputs ${words_outputs} ${words_dir}/${output} PARENT_SCOPE)
endfunction()
file(STRINGS ${CMAKE_SOURCE_DIR}/cli/main.c command_rows REGEX "^ *&wt_cmd_[a-z_]+,")
set(pages ${words_dir}/wattune.1)
wt_words(man wattune.1)
foreach(row ${command_rows})
  string(REGEX REPLACE "^ *&wt_cmd_([a-z_]+),.*" "\\1" command ${row})
  wt_words(man:${command} wattune-${command}.1)
  list(APPEND pages ${words_dir}/wattune-${command}.1)
endforeach()
wt_words(completion:bash wattune.bash)
wt_words(completion:zsh _wattune)
wt_words(completion:fish wattune.fish)
add_custom_target(words ALL DEPENDS ${words_outputs})

# ---- the library: its own names are hidden, only wattune.h's are seen
add_library(wattune_shared SHARED api/wattune.c)
target_link_libraries(wattune_shared PRIVATE wt_cli)
set_target_properties(wattune_shared PROPERTIES OUTPUT_NAME wattune VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} C_VISIBILITY_PRESET hidden
  LINK_DEPENDS ${CMAKE_SOURCE_DIR}/api/libwattune.map)
target_link_options(wattune_shared PRIVATE -Wl,--version-script=${CMAKE_SOURCE_DIR}/api/libwattune.map -Wl,--exclude-libs,ALL -Wl,-z,relro,-z,now)
if(NOT WT_SANITIZE) # whose names come with the program
  target_link_options(wattune_shared PRIVATE -Wl,-z,defs)
endif()
file(RELATIVE_PATH PC_PREFIX_FROM_PCDIR /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(${CMAKE_SOURCE_DIR}/api/wattune.pc.in ${CMAKE_BINARY_DIR}/wattune.pc @ONLY)

# ---- where things go
set(doc_dir ${CMAKE_INSTALL_DATADIR}/doc/wattune)
install(TARGETS wattune RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT wattune)
install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT wattune)
install(FILES ${words_dir}/wattune.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME wattune COMPONENT wattune)
# Debian's zsh looks for what packages bring in one folder, and for what an administrator brings below /usr/local in another.
install(CODE "
  set(zsh_dir site-functions)
  if(CMAKE_INSTALL_PREFIX MATCHES \"/usr$\")
    set(zsh_dir vendor-completions)
  endif()
  file(INSTALL ${words_dir}/_wattune DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/zsh/\${zsh_dir}\")" COMPONENT wattune)
install(FILES ${words_dir}/wattune.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d COMPONENT wattune)
install(FILES LICENSE DESTINATION ${doc_dir} RENAME copyright COMPONENT wattune)
file(GLOB readmes ${CMAKE_SOURCE_DIR}/README*.md ${CMAKE_SOURCE_DIR}/CHANGELOG.md ${CMAKE_SOURCE_DIR}/SECURITY.md)
install(FILES ${readmes} DESTINATION ${doc_dir} COMPONENT wattune)
install(DIRECTORY docs/ DESTINATION ${doc_dir}/docs COMPONENT wattune)
install(DIRECTORY profiles/data/ DESTINATION ${CMAKE_INSTALL_DATADIR}/wattune COMPONENT wattune FILES_MATCHING PATTERN "*.csv")
install(DIRECTORY demo/model demo/data DESTINATION ${CMAKE_INSTALL_DATADIR}/wattune/demo COMPONENT wattune)

install(TARGETS wattune_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT development)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/libwattune${PROJECT_VERSION_MAJOR} RENAME copyright COMPONENT library)
install(FILES api/wattune.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
install(FILES ${CMAKE_BINARY_DIR}/wattune.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
install(FILES api/example/tune.c DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/libwattune-dev/examples COMPONENT development)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/libwattune-dev RENAME copyright COMPONENT development)

# ---- Debian packages
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME wattune)
set(CPACK_PACKAGE_VENDOR "wattune maintainers")
set(CPACK_PACKAGE_CONTACT "wattune maintainers <maintainers@users.noreply.invalid>")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL wattune library development)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_WATTUNE_PACKAGE_NAME wattune)
set(CPACK_DEBIAN_WATTUNE_DESCRIPTION "fine-tuning of language models on a CPU, inside budgets
 Measures the machine, works out what every way of adapting a language model
 to a dataset would take in time, energy, money and memory, chooses the best
 that fits the budgets, carries it out without leaving them, and reports what
 was promised beside what it took.")
# With another build of OpenBLAS the program works, but slower.
set(CPACK_DEBIAN_WATTUNE_PACKAGE_RECOMMENDS "libopenblas0-openmp, ca-certificates")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME libwattune${PROJECT_VERSION_MAJOR})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_RECOMMENDS "libopenblas0-openmp, ca-certificates")
set(CPACK_DEBIAN_LIBRARY_DESCRIPTION "plans, meters and trains language models on a CPU (library)
 The program wattune as a library with a small C interface.")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/cmake/debian/triggers)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libwattune-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libwattune${PROJECT_VERSION_MAJOR} (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION "plans, meters and trains language models on a CPU (header)
 The header, the pkg-config file and an example of libwattune.")
include(CPack)
