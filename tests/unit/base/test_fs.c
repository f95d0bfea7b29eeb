#include "tests/test.h"

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/fs.h"
#include "base/sha256.h"

#include <unistd.h>

static struct wt_error err;
static char folder[64];

static const char *in_folder(const char *name)
{
  static char path[4][256];
  static unsigned next;
  char *p = path[next++ % 4];
  snprintf(p, sizeof path[0], "%s/%s", folder, name);
  return p;
}

static int set_up(void **state)
{
  (void)state;
  strcpy(folder, "/tmp/wt-fs-XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
  (void)state;
  return wt_fs_remove_tree(folder, &err) == WT_OK ? 0 : -1;
}

static void check_content(const char *path, const char *want)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1000);
  WT_ASSERT_OK(wt_fs_read(path, 900, &b, &err), &err);
  assert_string_equal(b.data, want);
}

static void writes_and_reads(void **state)
{
  (void)state;
  WT_ASSERT_OK(wt_fs_write_atomic(in_folder("a"), "hello", 5, &err), &err);
  check_content(in_folder("a"), "hello");
  WT_ASSERT_OK(wt_fs_write_atomic(in_folder("a"), "", 0, &err), &err);
  check_content(in_folder("a"), "");
  WT_ASSERT_OK(wt_fs_write_atomic(in_folder("a"), "again", 5, &err), &err);
  WT_ASSERT_OK(wt_fs_copy(in_folder("a"), in_folder("b"), &err), &err);
  check_content(in_folder("b"), "again");
  uint64_t bytes = 0;
  WT_ASSERT_OK(wt_fs_size(in_folder("b"), &bytes, &err), &err);
  assert_int_equal(bytes, 5);
  WT_ASSERT_OK(wt_fs_free_bytes(folder, &bytes, &err), &err);
  assert_true(bytes > 0);
  WT_AUTO(wt_strings_freep) char **names = NULL;
  WT_ASSERT_OK(wt_fs_list(folder, &names, &err), &err);
  assert_string_equal(names[0], "a");
  assert_string_equal(names[1], "b");
  assert_null(names[2]); /* no temporary file is left */
  WT_ASSERT_OK(wt_fs_write_atomic("/dev/null", "x", 1, &err), &err); /* a device is written, not replaced */
  struct stat st;
  assert_true(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
}

static void read_limits(void **state)
{
  (void)state;
  WT_ASSERT_OK(wt_fs_write_atomic(in_folder("ten"), "0123456789", 10, &err), &err);
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 11);
  WT_ASSERT_OK(wt_fs_read(in_folder("ten"), 10, &b, &err), &err);
  assert_int_equal(b.len, 10);
  wt_buf_clear(&b);
  WT_ASSERT_FAILS(wt_fs_read(in_folder("ten"), 9, &b, &err), WT_EFORMAT, &err);
  WT_AUTO(wt_buf_release) struct wt_buf small;
  wt_buf_init(&small, 10);
  WT_ASSERT_FAILS(wt_fs_read(in_folder("ten"), 100, &small, &err), WT_EFORMAT, &err);
  WT_ASSERT_FAILS(wt_fs_read(in_folder("absent"), 9, &b, &err), WT_EIO, &err);
  assert_non_null(strstr(err.message, "absent': No such file"));
  WT_ASSERT_FAILS(wt_fs_read(folder, 9, &b, &err), WT_EIO, &err);
}

static void folders(void **state)
{
  (void)state;
  WT_ASSERT_OK(wt_fs_mkdirs(in_folder("x/y/z"), &err), &err);
  WT_ASSERT_OK(wt_fs_mkdirs(in_folder("x/y/z/"), &err), &err);
  assert_true(wt_fs_is_dir(in_folder("x/y/z")));
  assert_true(wt_fs_exists(in_folder("x")));
  WT_ASSERT_OK(wt_fs_write_atomic(in_folder("x/y/f"), "1", 1, &err), &err);
  assert_int_equal(symlink("/", in_folder("x/link")), 0);
  WT_ASSERT_FAILS(wt_fs_mkdirs(in_folder("x/y/f/g"), &err), WT_EIO, &err);
  WT_ASSERT_FAILS(wt_fs_write_atomic(in_folder("x"), "1", 1, &err), WT_EIO, &err);
  WT_ASSERT_OK(wt_fs_remove_tree(in_folder("x"), &err), &err);
  assert_false(wt_fs_exists(in_folder("x")));
  assert_true(wt_fs_is_dir("/tmp"));
  WT_ASSERT_OK(wt_fs_remove_tree(in_folder("x"), &err), &err);
  char **names = NULL;
  WT_ASSERT_FAILS(wt_fs_list(in_folder("x"), &names, &err), WT_EIO, &err);
}

static void uncommitted_files_vanish(void **state)
{
  (void)state;
  WT_ASSERT_OK(wt_fs_write_atomic(in_folder("keep"), "old", 3, &err), &err);
  struct wt_atomic_file f;
  WT_ASSERT_OK(wt_atomic_open(&f, in_folder("keep"), &err), &err);
  fputs("new", f.file);
  wt_atomic_release(&f);
  wt_atomic_release(&f);
  check_content(in_folder("keep"), "old");
  WT_ASSERT_FAILS(wt_atomic_open(&f, in_folder("none/keep"), &err), WT_EIO, &err);
}

/* Whatever fails while a file is replaced, the old content stays and nothing else is left. */
static void every_failure_keeps_the_old_file(void **state)
{
  (void)state;
  WT_ASSERT_OK(wt_fs_write_atomic(in_folder("f"), "old", 3, &err), &err);
  const enum wt_fault_kind kinds[] = {WT_FAULT_ALLOC, WT_FAULT_OPEN, WT_FAULT_WRITE, WT_FAULT_FSYNC, WT_FAULT_RENAME};
  for (size_t k = 0; k < WT_COUNT(kinds); k++) {
    for (uint64_t i = 1;; i++) {
      wt_fault_arm(kinds[k], i, false);
      enum wt_status status = wt_fs_write_atomic(in_folder("f"), "old", 3, &err);
      bool reached = wt_fault_count(kinds[k]) >= i;
      wt_fault_disarm();
      if (!reached)
        break;
      assert_int_not_equal(status, WT_OK);
      check_content(in_folder("f"), "old");
      WT_AUTO(wt_strings_freep) char **names = NULL;
      WT_ASSERT_OK(wt_fs_list(folder, &names, &err), &err);
      for (char **n = names; *n; n++)
        assert_null(strstr(*n, ".tmp-"));
    }
  }
  wt_fault_arm(WT_FAULT_READ, 1, false);
  WT_ASSERT_FAILS(wt_fs_copy(in_folder("f"), in_folder("g"), &err), WT_EIO, &err);
  wt_fault_disarm();
  assert_false(wt_fs_exists(in_folder("g")));
}

static void maps(void **state)
{
  (void)state;
  WT_ASSERT_OK(wt_fs_write_atomic(in_folder("m"), "mapped", 6, &err), &err);
  WT_ASSERT_OK(wt_fs_write_atomic(in_folder("e"), "", 0, &err), &err);
  struct wt_map m, e;
  WT_ASSERT_OK(wt_fs_map(in_folder("m"), &m, &err), &err);
  WT_ASSERT_OK(wt_fs_map(in_folder("e"), &e, &err), &err);
  assert_memory_equal(m.data, "mapped", 6);
  assert_int_equal(m.bytes, 6);
  assert_int_equal(e.bytes, 0);
  assert_false(wt_map_damaged(&m));
  WT_ASSERT_FAILS(wt_fs_map(in_folder("absent"), &e, &err), WT_EIO, &err);
  WT_ASSERT_FAILS(wt_fs_map(folder, &e, &err), WT_EIO, &err);
  wt_map_release(&e);
  wt_map_release(&m);
  wt_map_release(&m);
}

static void a_file_that_shrinks_reads_as_zeros(void **state)
{
  (void)state;
  char *large = calloc(3, 4096);
  assert_non_null(large);
  memset(large, 'x', 3 * 4096);
  WT_ASSERT_OK(wt_fs_write_atomic(in_folder("s"), large, 3 * 4096, &err), &err);
  free(large);
  struct wt_map m;
  WT_ASSERT_OK(wt_fs_map(in_folder("s"), &m, &err), &err);
  assert_int_equal(truncate(in_folder("s"), 100), 0);
  assert_int_equal(m.data[5000], 0);
  assert_int_equal(m.data[9000], 0);
  assert_true(wt_map_damaged(&m));
  assert_int_equal(wt_maps_sound(&err), WT_EIO);
  assert_non_null(strstr(err.message, in_folder("s")));
  wt_map_release(&m);
  WT_ASSERT_OK(wt_maps_sound(&err), &err); /* nobody can be harmed by it any more */
}

static void paths(void **state)
{
  (void)state;
  static const char *const joins[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"a", "/b", "/b"}, {"", "b", "b"}, {"/", "b", "/b"}};
  for (size_t i = 0; i < WT_COUNT(joins); i++) {
    WT_AUTO(wt_freep) char *p = wt_path_join(joins[i][0], joins[i][1]);
    assert_string_equal(p, joins[i][2]);
  }
  assert_string_equal(wt_path_base("/x/y.z"), "y.z");
  assert_string_equal(wt_path_base("y"), "y");
  assert_true(wt_name_ends_in("model.gguf", ".gguf"));
  assert_true(wt_name_ends_in(".gguf", ".gguf"));
  assert_false(wt_name_ends_in("guf", ".gguf"));
  assert_false(wt_name_ends_in("model.gguf.part", ".gguf"));
  static const char *const dirs[][2] = {{"/x/y", "/x"}, {"y", "."}, {"/y", "/"}};
  for (size_t i = 0; i < WT_COUNT(dirs); i++) {
    WT_AUTO(wt_freep) char *p = wt_path_dir(dirs[i][0]);
    assert_string_equal(p, dirs[i][1]);
  }
}

static void check_folder(char *(*of)(void), const char *want)
{
  WT_AUTO(wt_freep) char *p = of();
  assert_string_equal(p, want);
}

static void state_folders(void **state)
{
  (void)state;
  static const char *const names[] = {"XDG_STATE_HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE"};
  for (size_t i = 0; i < WT_COUNT(names); i++)
    unsetenv(names[i]);
  setenv("HOME", "/h", 1);
  check_folder(wt_state_dir, "/h/.local/state/wattune");
  check_folder(wt_cache_dir, "/h/.cache/wattune");
  check_folder(wt_hf_cache_dir, "/h/.cache/huggingface/hub");
  setenv("XDG_STATE_HOME", "/s", 1);
  setenv("XDG_CACHE_HOME", "/c", 1);
  setenv("HF_HOME", "/f", 1);
  check_folder(wt_state_dir, "/s/wattune");
  check_folder(wt_cache_dir, "/c/wattune");
  check_folder(wt_hf_cache_dir, "/f/hub");
  setenv("HF_HUB_CACHE", "/u", 1);
  check_folder(wt_hf_cache_dir, "/u");
}

static void digests(void **state)
{
  (void)state;
  char hex[WT_SHA256_HEX_BYTES];
  wt_sha256_hex("abc", 3, hex);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"); /* FIPS 180-4 */
  WT_ASSERT_OK(wt_fs_write_atomic(in_folder("abc"), "abc", 3, &err), &err);
  char of_file[WT_SHA256_HEX_BYTES];
  WT_ASSERT_OK(wt_sha256_file(in_folder("abc"), of_file, &err), &err);
  assert_string_equal(of_file, hex);
  WT_ASSERT_FAILS(wt_sha256_file(in_folder("absent"), of_file, &err), WT_EIO, &err);
  WT_AUTO(wt_digest_freep) struct wt_digest *d = wt_digest_new(WT_DIGEST_SHA1);
  wt_digest_add(d, "a", 1);
  wt_digest_add(d, "bc", 2);
  wt_digest_hex(d, hex);
  assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
}

static void tree_bytes(void **state)
{
  (void)state;
  WT_ASSERT_OK(wt_fs_mkdirs(in_folder("tree/in/ner"), &err), &err);
  WT_ASSERT_OK(wt_fs_write_atomic(in_folder("tree/a"), "12345", 5, &err), &err);
  WT_ASSERT_OK(wt_fs_write_atomic(in_folder("tree/in/ner/b"), "123", 3, &err), &err);
  assert_int_equal(symlink("/etc/passwd", in_folder("tree/in/link")), 0);
  assert_int_equal(wt_fs_tree_bytes(in_folder("tree")), 8);
  assert_int_equal(wt_fs_tree_bytes(in_folder("tree/a")), 5);
  assert_int_equal(wt_fs_tree_bytes(in_folder("nothing")), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(writes_and_reads),
      cmocka_unit_test(read_limits),
      cmocka_unit_test(folders),
      cmocka_unit_test(tree_bytes),
      cmocka_unit_test(uncommitted_files_vanish),
      cmocka_unit_test(every_failure_keeps_the_old_file),
      cmocka_unit_test(maps),
      cmocka_unit_test(a_file_that_shrinks_reads_as_zeros),
      cmocka_unit_test(paths),
      cmocka_unit_test(digests),
      cmocka_unit_test(state_folders),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
