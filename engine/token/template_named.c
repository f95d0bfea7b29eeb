/* engine/token/template_named.c: the templates that go by a name, in the language that models' own are written in. */
#include "engine/token/template_internal.h"
#include <string.h>

#define ROLE_TURNS(before, between, after)                                                                                                 \
  "{% for m in messages %}{{ '" before "' ~ m.role ~ '" between "' ~ (m.content or '') ~ '" after "' }}{% endfor %}"
/* Models without a system role: its text goes in front of the first user's. */
#define FOLD_SYSTEM                                                                                                                        \
  "{% set ns = namespace(system='') %}{% for m in messages if m.role == 'system' %}{% set ns.system = ns.system ~ m.content ~ '\\n\\n' "   \
  "%}{% endfor %}"

const struct wt_named_template wt_named_templates[] = {
    {"chatml", false,
     ROLE_TURNS("<|im_start|>", "\\n", "<|im_end|>\\n") "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"},
    {"llama2", false,
     "{% set ns = namespace(system='') %}"
     "{% for m in messages if m.role == 'system' %}{% set ns.system = '<<SYS>>\\n' ~ m.content ~ '\\n<</SYS>>\\n\\n' %}{% endfor %}"
     "{% for m in messages if m.role != 'system' %}"
     "{% if m.role == 'assistant' %}{{ ' ' ~ (m.content or '')|trim ~ ' ' ~ eos_token }}"
     "{% else %}{{ bos_token ~ '[INST] ' ~ (ns.system ~ m.content)|trim ~ ' [/INST]' }}{% set ns.system = '' %}{% endif %}{% endfor %}"},
    {"llama3", false,
     "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' ~ m.role ~ '<|end_header_id|>\\n\\n' ~ (m.content or '')|trim ~ "
     "'<|eot_id|>' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"},
    {"mistral", false,
     FOLD_SYSTEM "{{ bos_token }}{% for m in messages if m.role != 'system' %}"
                 "{% if m.role == 'assistant' %}{{ ' ' ~ (m.content or '')|trim ~ eos_token }}"
                 "{% else %}{{ '[INST] ' ~ ns.system ~ m.content ~ ' [/INST]' }}{% set ns.system = '' %}{% endif %}{% endfor %}"},
    {"zephyr", false,
     "{% for m in messages %}{{ '<|' ~ m.role ~ '|>\\n' ~ (m.content or '') ~ eos_token ~ '\\n' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"},
    {"gemma", false,
     FOLD_SYSTEM "{{ bos_token }}{% for m in messages if m.role != 'system' %}"
                 "{% if m.role == 'assistant' %}{{ '<start_of_turn>model\\n' ~ (m.content or '')|trim ~ '<end_of_turn>\\n' }}"
                 "{% else %}{{ '<start_of_turn>user\\n' ~ (ns.system ~ m.content)|trim ~ '<end_of_turn>\\n' }}{% set ns.system = '' %}{% "
                 "endif %}{% endfor %}"
                 "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"},
    {"phi3", false, ROLE_TURNS("<|", "|>\\n", "<|end|>\\n") "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"},
    {"glm4", false,
     "{{ '[gMASK]<sop>' }}"
     "{% for tool in tools or [] %}{% set f = tool.function or tool %}{{ '<|system|>\\n# 可用工具' if loop.first else '' }}"
     "{{ '\\n\\n## ' ~ f.name ~ '\\n\\n' ~ f|tojson(indent=4) ~ '\\n在调用上述函数时，请使用 Json 格式表示调用的参数。' }}{% endfor %}"
     "{% for m in messages %}{{ '<|' ~ m.role ~ '|>' ~ (m.metadata or '') ~ '\\n' ~ (m.content or '') }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"},
    {"chatglm3", false,
     "{{ '[gMASK]<sop>' }}" ROLE_TURNS("<|", "|>\\n ", "") "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"},
    {"alpaca", true,
     "{% set ns = namespace(system='Below is an instruction that describes a task. Write a response that appropriately completes the "
     "request.') %}"
     "{% for m in messages if m.role == 'system' %}{% set ns.system = m.content %}{% endfor %}"
     "{% if ns.system %}{{ ns.system ~ '\\n\\n' }}{% endif %}"
     "{% for m in messages if m.role != 'system' %}"
     "{% if m.role == 'assistant' %}{{ (m.content or '') ~ eos_token }}{% if not loop.last %}{{ '\\n\\n' }}{% endif %}"
     "{% else %}{{ '### Instruction:\\n' ~ m.content ~ '\\n\\n### Response:\\n' }}{% endif %}{% endfor %}"},
    {"none", true, "{% for m in messages %}{{ (m.content or '') ~ (eos_token if m.role == 'assistant' else '') }}{% endfor %}"},
};
const size_t wt_named_template_count = WT_COUNT(wt_named_templates);

const struct wt_named_template *wt_named_template_find(const char *name)
{
  for (size_t i = 0; i < wt_named_template_count; i++)
    if (strcmp(name, wt_named_templates[i].name) == 0)
      return &wt_named_templates[i];
  return NULL;
}

const struct wt_named_template *wt_named_template_guess(const struct wt_tokenizer *t)
{
  static const struct {
    const char *token, *also, *name;
  } signs[] = {{"<|im_start|>", "<|im_end|>", "chatml"},
               {"<|start_header_id|>", "<|eot_id|>", "llama3"},
               {"<start_of_turn>", "<end_of_turn>", "gemma"},
               {"[gMASK]", "<|begin_of_image|>", "glm4"},
               {"[gMASK]", "<|observation|>", "chatglm3"},
               {"<|end|>", "<|assistant|>", "phi3"},
               {"[INST]", "[/INST]", "mistral"}};
  for (size_t i = 0; t && i < WT_COUNT(signs); i++)
    if (wt_tokenizer_find(t, signs[i].token) >= 0 && wt_tokenizer_find(t, signs[i].also) >= 0)
      return wt_named_template_find(signs[i].name);
  return wt_named_template_find("alpaca");
}
