/* engine/models/presets.c: configs of new models by name, three sizes a family, from data/presets.json, which is taken into the program as it is. */
#include "engine/models/families.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include <string.h>

/* WT_PRESETS is the file in the source tree (from CMake); only the bytes end up in the program. */
__asm__(".section .rodata\n.balign 16\n.global wt_presets_text\nwt_presets_text:\n.incbin \"" WT_PRESETS "\"\n.global wt_presets_end\nwt_presets_end:\n.byte 0\n.previous\n");
extern const char wt_presets_text[], wt_presets_end[];

enum wt_status wt_preset_find(const char *name, struct wt_json **ret, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *all = NULL;
  WT_AUTO(wt_buf_release) struct wt_buf names;
  wt_buf_init(&names, 1 << 14);
  WT_TRY(wt_json_parse(wt_presets_text, (size_t)(wt_presets_end - wt_presets_text), "presets", &all, err));
  const struct wt_json *found = wt_json_get(all, name);
  if (found) {
    struct wt_json *copy = wt_json_copy(found);
    if (!copy)
      return wt_fail(err, WT_ENOMEM, "init: out of memory");
    *ret = copy;
    return WT_OK;
  }
  for (const struct wt_json *v = wt_json_first(all); v; v = wt_json_next(v))
    wt_buf_addf(&names, "%s%s", names.len ? ", " : "", wt_json_key(v));
  WT_TRY(wt_buf_ok(&names, "presets", err));
  wt_fail(err, WT_EFORMAT, "--config: '%s' is neither a file nor a name", name);
  return wt_error_hint(err, "names: %s", names.data);
}
