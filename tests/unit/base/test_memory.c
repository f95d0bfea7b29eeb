/* cleanup, arena, buf: everything that hands out memory. */
#include "tests/test.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fault.h"

#include <fcntl.h>

static struct wt_error err;

static void heap(void **state)
{
  (void)state;
  WT_AUTO(wt_freep) char *a = wt_strdup("abc");
  WT_AUTO(wt_freep) char *b = wt_strndup("abcdef", 4);
  WT_AUTO(wt_freep) char *c = wt_asprintf("%d-%s", 5, "x");
  assert_string_equal(a, "abc");
  assert_string_equal(b, "abcd");
  assert_string_equal(c, "5-x");
  char *moved = WT_TAKE(a);
  assert_null(a);
  wt_freep(&moved);
  assert_null(moved);
  wt_freep(&moved);
  assert_null(wt_calloc(SIZE_MAX / 2, 3));
  assert_null(wt_realloc_array(NULL, SIZE_MAX / 2, 3));
  WT_AUTO(wt_freep) void *none = wt_malloc(0);
  assert_non_null(none);
  size_t x = 7;
  assert_false(wt_size_add(SIZE_MAX, 1, &x));
  assert_false(wt_size_mul(SIZE_MAX, 2, &x));
  assert_int_equal(x, 7);
  assert_true(wt_size_add(1, 2, &x) && x == 3);
  assert_true(wt_size_mul(4, 5, &x) && x == 20);
  WT_AUTO(wt_closep) int fd = open("/dev/null", O_RDONLY);
  assert_true(fd >= 0);
  WT_AUTO(wt_fclosep) FILE *file = fopen("/dev/null", "r");
  assert_non_null(file);
}

static void faults_hit_once_or_onwards(void **state)
{
  (void)state;
  wt_fault_arm(WT_FAULT_ALLOC, 2, false);
  WT_AUTO(wt_freep) void *a = wt_malloc(1);
  assert_non_null(a);
  assert_null(wt_malloc(1));
  WT_AUTO(wt_freep) void *b = wt_malloc(1);
  assert_non_null(b);
  assert_int_equal(wt_fault_count(WT_FAULT_ALLOC), 3);
  wt_fault_arm(WT_FAULT_ALLOC, 1, true);
  assert_null(wt_calloc(1, 1));
  assert_null(wt_realloc(NULL, 1));
  assert_null(wt_strdup("x"));
  assert_null(wt_asprintf("x"));
  wt_fault_disarm();
  WT_AUTO(wt_freep) void *c = wt_malloc(1);
  assert_non_null(c);
}

/* The same layout over a dry and a real arena needs the same bytes. */
static void layout(struct wt_arena *a)
{
  wt_arena_floats(a, 100);
  size_t mark = wt_arena_mark(a);
  wt_arena_alloc(a, 1);
  wt_arena_array(a, 1000, 12);
  wt_arena_reset(a, mark);
  wt_arena_alloc(a, 65);
}

static void dry_arena_predicts_the_real_one(void **state)
{
  (void)state;
  struct wt_arena dry, real;
  wt_arena_init_dry(&dry, "step");
  layout(&dry);
  assert_int_equal(dry.peak_bytes, 448 + 64 + 12032);
  assert_int_equal(dry.used_bytes, 448 + 128);
  WT_ASSERT_OK(wt_arena_init(&real, "step", dry.peak_bytes, &err), &err);
  wt_arena_prefault(&real);
  layout(&real);
  assert_int_equal(real.peak_bytes, dry.peak_bytes);
  assert_int_equal(real.used_bytes, dry.used_bytes);
  wt_arena_release(&dry);
  wt_arena_release(&real);
  wt_arena_release(&real);
}

static void arena_memory_is_zeroed_aligned_and_usable(void **state)
{
  (void)state;
  struct wt_arena a;
  WT_ASSERT_OK(wt_arena_init(&a, "run", (size_t)5 << 20, &err), &err); /* large enough for huge pages */
  assert_int_equal((uintptr_t)a.base % ((uintptr_t)2 << 20), 0);
  char *p = wt_arena_alloc(&a, 3);
  float *f = wt_arena_floats(&a, 1000000);
  assert_int_equal((uintptr_t)p % 64, 0);
  assert_int_equal((uintptr_t)f % 64, 0);
  assert_true(f[0] == 0 && f[999999] == 0);
  f[999999] = 1;
  wt_arena_reset(&a, 0);
  assert_ptr_equal(wt_arena_alloc(&a, 1), p);
  wt_arena_release(&a);
}

static void arena_edges(void **state)
{
  (void)state;
  struct wt_arena a;
  WT_ASSERT_OK(wt_arena_init(&a, "empty", 0, &err), &err);
  assert_non_null(wt_arena_alloc(&a, 0));
  wt_arena_prefault(&a);
  wt_arena_release(&a);
  WT_ASSERT_FAILS(wt_arena_init(&a, "huge", SIZE_MAX / 2, &err), WT_ENOMEM, &err);
  WT_ASSERT_FAILS(wt_arena_init(&a, "huge", SIZE_MAX / 8, &err), WT_ENOMEM, &err);
  assert_non_null(strstr(err.message, "arena 'huge'"));
  wt_fault_arm(WT_FAULT_ALLOC, 1, false);
  WT_ASSERT_FAILS(wt_arena_init(&a, "run", 100, &err), WT_ENOMEM, &err);
  wt_fault_disarm();
}

static void buffer_grows_up_to_its_ceiling(void **state)
{
  (void)state;
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 300);
  assert_string_equal(b.data, "");
  wt_buf_adds(&b, "ab");
  wt_buf_addc(&b, 'c');
  wt_buf_addf(&b, "%03d", 7);
  wt_buf_addf(&b, "%s", "");
  wt_buf_add(&b, "\0x", 2);
  assert_int_equal(b.len, 8);
  assert_memory_equal(b.data, "abc007\0x", 9);
  for (int i = 0; i < 291; i++)
    wt_buf_addc(&b, 'y');
  assert_int_equal(b.len, 299);
  WT_ASSERT_OK(wt_buf_ok(&b, "t", &err), &err);
  wt_buf_addc(&b, 'z'); /* len must stay below the ceiling */
  assert_int_equal(b.len, 299);
  WT_ASSERT_FAILS(wt_buf_ok(&b, "t", &err), WT_ENOMEM, &err);
  assert_string_equal(err.message, "t: out of memory or over 300 bytes");
  wt_buf_adds(&b, "sticky");
  assert_int_equal(b.len, 299);
  assert_null(wt_buf_take(&b));
  wt_buf_adds(&b, "fresh");
  WT_AUTO(wt_freep) char *s = wt_buf_take(&b);
  assert_string_equal(s, "fresh");
  assert_string_equal(b.data, "");
  WT_AUTO(wt_freep) char *none = wt_buf_take(&b);
  assert_string_equal(none, "");
  wt_buf_adds(&b, "x");
  wt_buf_clear(&b);
  assert_string_equal(b.data, "");
  assert_int_equal(b.len, 0);
}

static void buffer_failures(void **state)
{
  (void)state;
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, SIZE_MAX);
  assert_false(wt_buf_reserve(&b, SIZE_MAX));
  wt_buf_clear(&b);
  wt_fault_arm(WT_FAULT_ALLOC, 1, false);
  wt_buf_adds(&b, "x");
  wt_fault_disarm();
  assert_true(b.failed);
  assert_string_equal(b.data, "");
}

static void code_points(void **state)
{
  (void)state;
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 100);
  const unsigned points[] = {'a', 0xe9, 0x20ac, 0x1f600, 0x110000};
  for (size_t i = 0; i < WT_COUNT(points); i++)
    wt_buf_add_utf8(&b, points[i]);
  assert_string_equal(b.data, "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbd");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(heap),
      cmocka_unit_test(faults_hit_once_or_onwards),
      cmocka_unit_test(dry_arena_predicts_the_real_one),
      cmocka_unit_test(arena_memory_is_zeroed_aligned_and_usable),
      cmocka_unit_test(arena_edges),
      cmocka_unit_test(buffer_grows_up_to_its_ceiling),
      cmocka_unit_test(buffer_failures),
      cmocka_unit_test(code_points),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
