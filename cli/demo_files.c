/* cli/demo_files.c: takes the files of demo/ into the program's read-only data, as they are. */
#include "cli/demo_files.h"

/* WT_DEMO_DIR is the folder in the source tree (from CMake); only the bytes end up in the program. */
#define WT_EMBED(symbol, file)                                                                                                                \
  __asm__(".section .rodata\n.balign 16\n.global " #symbol "\n" #symbol ":\n.incbin \"" WT_DEMO_DIR "/" file "\"\n.global " #symbol "_end\n" #symbol \
          "_end:\n.byte 0\n.previous\n");                                                                                                     \
  extern const unsigned char symbol[], symbol##_end[]

WT_EMBED(wt_demo_config, "model/config.json");
WT_EMBED(wt_demo_weights, "model/model.safetensors");
WT_EMBED(wt_demo_tokenizer, "model/tokenizer.json");
WT_EMBED(wt_demo_tokenizer_config, "model/tokenizer_config.json");
WT_EMBED(wt_demo_train, "data/train.jsonl");
WT_EMBED(wt_demo_heldout, "data/heldout.jsonl");

const struct wt_demo_file wt_demo_files[] = {
    {"model/config.json", wt_demo_config, wt_demo_config_end},
    {"model/model.safetensors", wt_demo_weights, wt_demo_weights_end},
    {"model/tokenizer.json", wt_demo_tokenizer, wt_demo_tokenizer_end},
    {"model/tokenizer_config.json", wt_demo_tokenizer_config, wt_demo_tokenizer_config_end},
    {"data/train.jsonl", wt_demo_train, wt_demo_train_end},
    {"data/heldout.jsonl", wt_demo_heldout, wt_demo_heldout_end},
};
const size_t wt_demo_files_n = sizeof wt_demo_files / sizeof wt_demo_files[0];
