/* peft: what adapter_config.json says, for peft.c. */
#ifndef PARE_MODEL_PEFT_H
#define PARE_MODEL_PEFT_H

#include "pare/json.h"

typedef struct {
    uint64_t rank;
    double alpha; /* scale = alpha / rank */
    json_t *json;
} peft_recipe;

/* Refuses by name every option that makes the model anything but base + scale B A. peft_recipe_free releases it. */
bool peft_recipe_read(peft_recipe *recipe, const char *path, pare_error *error) PARE_MUST_CHECK;
void peft_recipe_free(peft_recipe *recipe);
/* Whether PEFT would put an adapter on the module ("model.layers.0.self_attn.q_proj"). A pattern is taken to: the tensors say what it
 * matched. */
bool peft_recipe_allows(const peft_recipe *recipe, const char *module, uint32_t layer);

#endif
