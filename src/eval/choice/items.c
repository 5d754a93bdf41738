/* items: documents -> contexts, continuations and the right choice, as lm-evaluation-harness puts them together: description, few-shot
 * examples, text; the delimiter belongs to the continuation. */
#include <stdio.h>
#include <string.h>

#include "documents.h"

enum { CHOICES_MAX = 64 };

typedef struct {
    const char *subset; /* "" where the task has none */
    pare_piece text;    /* with its answer and the delimiter behind it */
} example;

typedef struct {
    pare_items *items;
    const struct pare_task_inner *inner;
    const documents *from; /* of the document being read */
    size_t items_capacity, subsets_capacity, counts_capacity;
    const char **subsets;
    uint32_t *counts; /* items by subset */
    example *examples;
    size_t n_examples, examples_capacity;
    pare_string prefix; /* description and examples */
    pare_error *error;
} builder;

/* ---- one document's parts ---- */

typedef struct {
    pare_piece choices[CHOICES_MAX], context, continuation, target;
    uint32_t n, gold;
} parts;

static bool keep(pare_piece *out, builder *b, const char *bytes, size_t n) {
    out->bytes = pare_arena_copy(b->items->arena, bytes, n, b->error);
    out->length = n;
    return out->bytes != NULL;
}

static bool fail_place(const builder *b, const char *problem) {
    return pare_fail(b->error, PARE_ERROR_FORMAT, "%s: %s (task %s)", b->from->place, problem, b->items->task->name);
}

/* before: what comes first, a prefix or a delimiter. template NULL: nothing follows. */
static bool put_text(pare_piece *out, builder *b, const char *before, size_t n_before, const pare_template *template,
                     const pare_template_source *source) {
    pare_string text = {0};
    pare_string_push(&text, before, n_before);
    bool done = (!template || pare_template_text(&text, template, source, b->error)) && pare_string_check(&text, b->error) &&
                keep(out, b, text.data, text.length);
    pare_string_free(&text);
    return done;
}

static bool put_choice(parts *p, builder *b, const json_t *value) {
    char digits[32];
    const char *text = json_string_value(value);
    size_t n = json_string_length(value);
    if (json_is_integer(value)) {
        n = (size_t)snprintf(digits, sizeof digits, "%lld", (long long)json_integer_value(value));
        text = digits;
    }
    if (!text || n == 0)
        return fail_place(b, text ? "a choice is empty" : "a choice is no text");
    if (p->n == CHOICES_MAX)
        return fail_place(b, "more than 64 choices");
    return keep(&p->choices[p->n++], b, text, n);
}

/* Each template is a choice, or one gives them all. */
static bool put_choices(parts *p, builder *b, const pare_template_source *source) {
    bool done = true;
    for (size_t i = 0; done && i < b->inner->n_choices; i++) {
        json_t *value = pare_template_value(b->inner->choices[i], source, b->error), *item;
        size_t k;
        done = value != NULL;
        if (done && b->inner->n_choices > 1)
            done = put_choice(p, b, value);
        else if (done && !json_is_array(value))
            done = fail_place(b, "the choices are no list");
        else
            json_array_foreach(value, k, item) done = done && put_choice(p, b, item);
        json_decref(value);
    }
    return done && (p->n >= 2 || fail_place(b, "there are fewer than two choices"));
}

/* A number, true or false, or the text of a choice. */
static bool put_gold(parts *p, builder *b, const json_t *value) {
    const char *text = json_string_value(value);
    json_int_t gold = json_is_integer(value) ? json_integer_value(value) : json_is_true(value) ? 1 : json_is_false(value) ? 0 : -1;
    size_t n = json_string_length(value);
    if (text && n > 0 && n < 9 && strspn(text, "0123456789") == n)
        for (gold = 0; *text; text++)
            gold = gold * 10 + (*text - '0');
    else if (text)
        for (uint32_t i = 0; gold < 0 && i < p->n; i++)
            if (p->choices[i].length == n && memcmp(p->choices[i].bytes, text, n) == 0)
                gold = i;
    p->gold = (uint32_t)gold;
    if (gold >= 0 && gold < p->n)
        return true;
    char shown[64] = "";
    if (json_is_integer(value))
        snprintf(shown, sizeof shown, "%lld ", (long long)json_integer_value(value));
    else if (json_is_string(value))
        snprintf(shown, sizeof shown, "\"%.50s\" ", json_string_value(value));
    pare_fail(b->error, PARE_ERROR_RANGE, "%s: the answer %sis none of the %u choices, 0 to %u (task %s)", b->from->place, shown, p->n,
              p->n - 1, b->items->task->name);
    return false;
}

static bool put_choices_and_gold(parts *p, builder *b, const pare_template_source *source) {
    if (!put_choices(p, b, source))
        return false;
    json_t *gold = pare_template_value(b->inner->target, source, b->error);
    bool done = gold && put_gold(p, b, gold);
    json_decref(gold);
    return done;
}

static bool read_parts(parts *p, builder *b, const json_t *document) {
    const pare_template_source source = {document, b->from->place, b->items->task->name};
    const char *delimiter = b->inner->delimiter, *prefix = b->prefix.data ? b->prefix.data : "";
    size_t n = strlen(delimiter);
    *p = (parts){0};
    if (b->inner->likelihood)
        return put_text(&p->context, b, prefix, b->prefix.length, b->inner->text, &source) &&
               put_text(&p->target, b, delimiter, n, b->inner->target, &source);
    if (b->inner->choices_are_contexts)
        return put_text(&p->continuation, b, delimiter, n, b->inner->continuation, &source) && put_choices_and_gold(p, b, &source);
    return put_text(&p->context, b, prefix, b->prefix.length, b->inner->text, &source) && put_choices_and_gold(p, b, &source);
}

/* ---- few-shot examples ---- */

static bool read_subset(pare_string *out, builder *b, const json_t *document) {
    const pare_template_source source = {document, b->from->place, b->items->task->name};
    out->length = 0;
    pare_string_push(out, "", 0);
    return (!b->inner->subset || pare_template_text(out, b->inner->subset, &source, b->error)) && pare_string_check(out, b->error);
}

/* Text, delimiter, answer, delimiter of examples. */
static bool add_example(builder *b, const json_t *document) {
    parts p;
    pare_string subset = {0}, text = {0};
    bool done = read_subset(&subset, b, document) && read_parts(&p, b, document) &&
                pare_grow((void **)&b->examples, &b->examples_capacity, b->n_examples + 1, sizeof *b->examples, b->error);
    if (done) {
        const struct pare_task_inner *inner = b->inner;
        pare_piece before = inner->choices_are_contexts ? p.choices[p.gold] : p.context;
        pare_piece answer = inner->likelihood ? p.target : inner->choices_are_contexts ? p.continuation : p.choices[p.gold];
        pare_string_push(&text, before.bytes, before.length);
        if (!inner->likelihood && !inner->choices_are_contexts) /* the others' answers begin with it */
            pare_string_push(&text, inner->delimiter, strlen(inner->delimiter));
        pare_string_push(&text, answer.bytes, answer.length);
        pare_string_push(&text, inner->fewshot_delimiter, strlen(inner->fewshot_delimiter));
        example *made = &b->examples[b->n_examples++];
        done = pare_string_check(&text, b->error) && keep(&made->text, b, text.data, text.length) &&
               (made->subset = pare_arena_copy(b->items->arena, subset.data, subset.length, b->error));
    }
    pare_string_free(&subset);
    pare_string_free(&text);
    return done;
}

/* All of the file where there are subsets, else as many as are shown. */
static bool read_examples(builder *b, const task_file *file, const char *folder) {
    documents from;
    uint32_t wanted = b->items->options.fewshot;
    if (wanted == 0)
        return true;
    if (!file->fewshot)
        return pare_fail(b->error, PARE_ERROR_USAGE, "--fewshot %u: the task %s names no file of examples for %s", wanted,
                         b->items->task->name, file->path);
    if (!pare_documents_open(&from, file, folder, file->fewshot, false, b->items->arena, b->error))
        return false;
    b->from = &from;
    b->items->examples_path = from.path;
    json_t *document = NULL;
    bool done = true;
    while (done && (b->inner->subset || b->n_examples < wanted) &&
           (done = pare_documents_next(&document, &from, b->items->task->name, b->error)) && document) {
        done = add_example(b, document);
        json_decref(document);
    }
    done = done && pare_documents_hash(&b->items->data_sha256, &from, b->error);
    pare_documents_close(&from);
    return done;
}

/* Description and examples of the document's subset. */
static bool set_prefix(builder *b, const json_t *document, const char *subset) {
    const pare_template_source source = {document, b->from->place, b->items->task->name};
    uint32_t n = 0, wanted = b->items->options.fewshot;
    b->prefix.length = 0;
    if (b->inner->description && !pare_template_text(&b->prefix, b->inner->description, &source, b->error))
        return false;
    for (size_t i = 0; i < b->n_examples && n < wanted; i++)
        if (strcmp(b->examples[i].subset, subset) == 0) {
            pare_string_push(&b->prefix, b->examples[i].text.bytes, b->examples[i].text.length);
            n++;
        }
    if (n < wanted)
        return pare_fail(b->error, PARE_ERROR_RANGE, "--fewshot %u: there are %u examples for %s%s%s", wanted, n, b->items->task->name,
                         *subset ? ", subset " : "", subset);
    return pare_string_check(&b->prefix, b->error);
}

/* ---- items ---- */

/* The subset's place; new ones are added. */
static bool find_subset(size_t *place, builder *b, const char *name) {
    pare_items *items = b->items;
    for (*place = 0; *place < items->n_subsets; ++*place)
        if (strcmp(b->subsets[*place], name) == 0)
            return true;
    if (!pare_grow((void **)&b->subsets, &b->subsets_capacity, *place + 1, sizeof *b->subsets, b->error) ||
        !pare_grow((void **)&b->counts, &b->counts_capacity, *place + 1, sizeof *b->counts, b->error))
        return false;
    b->counts[*place] = 0;
    items->n_subsets++;
    return (b->subsets[*place] = pare_arena_copy(items->arena, name, strlen(name), b->error)) != NULL;
}

static bool put_joined(pare_piece *out, builder *b, const char *before, size_t n, pare_piece text) {
    char *joined = PARE_PUSH(b->items->arena, char, n + text.length + 1, b->error);
    if (!joined)
        return false;
    memcpy(joined, before, n);
    memcpy(joined + n, text.bytes, text.length);
    *out = (pare_piece){joined, n + text.length};
    return true;
}

/* The i-th choice, or the target alone. */
static bool put_request(pare_item_request *out, builder *b, const parts *p, uint32_t i) {
    *out = (pare_item_request){p->context, p->target, p->target};
    if (p->n == 0)
        return true;
    out->choice = p->choices[i];
    out->continuation = p->continuation;
    if (b->inner->choices_are_contexts)
        return put_joined(&out->context, b, b->prefix.data ? b->prefix.data : "", b->prefix.length, p->choices[i]);
    return put_joined(&out->continuation, b, b->inner->delimiter, strlen(b->inner->delimiter), p->choices[i]);
}

static bool add_item(builder *b, const json_t *document, size_t subset) {
    parts p;
    pare_items *items = b->items;
    if (!pare_grow((void **)&items->items, &b->items_capacity, items->n + 1, sizeof *items->items, b->error) ||
        !set_prefix(b, document, b->subsets[subset]) || !read_parts(&p, b, document))
        return false;
    uint32_t n = p.n ? p.n : 1;
    pare_item_request *requests = PARE_PUSH(items->arena, pare_item_request, n, b->error);
    if (!requests)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!put_request(&requests[i], b, &p, i))
            return false;
    items->items[items->n] = (pare_item){requests, n, p.gold, b->from->n - 1, b->from->begin, subset};
    items->n++;
    b->counts[subset]++;
    return true;
}

/* A document is an item, or lies beyond its subset's limit. */
static bool take_document(builder *b, const json_t *document) {
    pare_string name = {0};
    size_t subset = 0;
    uint32_t limit = b->items->options.limit;
    bool done = read_subset(&name, b, document) && find_subset(&subset, b, name.data);
    if (done && (limit == 0 || b->counts[subset] < limit))
        done = add_item(b, document, subset);
    pare_string_free(&name);
    return done;
}

static bool read_documents(builder *b, const task_file *file, const char *folder) {
    documents from;
    pare_items *items = b->items;
    if (!pare_documents_open(&from, file, folder, file->path, true, items->arena, b->error))
        return false;
    b->from = &from;
    items->path = from.path;
    items->labels_path = from.label_path;
    json_t *document = NULL;
    bool done = true, all = items->options.limit == 0 || b->inner->subset;
    while (done && (all || items->n < items->options.limit) &&
           (done = pare_documents_next(&document, &from, items->task->name, b->error)) && document) {
        done = take_document(b, document);
        json_decref(document);
    }
    done = done && pare_documents_hash(&items->data_sha256, &from, b->error);
    if (done && items->n == 0)
        done = pare_fail(b->error, PARE_ERROR_RANGE, "%s: no documents", from.path);
    pare_documents_close(&from);
    return done;
}

/* ---- opening ---- */

/* The first of the task's files that is there. */
static const task_file *find_file(builder *b, const char *folder) {
    pare_string tried = {0};
    for (size_t i = 0; i < b->inner->n_files; i++) {
        if (pare_documents_find(folder, b->inner->files[i].path, b->items->arena, b->error))
            return &b->inner->files[i];
        pare_string_print(&tried, "%s%s/%s", i ? ", " : "", folder, b->inner->files[i].path);
    }
    pare_fail(b->error, PARE_ERROR_IO,
              "no documents for the task %s: there is no %s (plain, .bz2 or .gz); pare tasks %s says how to get them", b->items->task->name,
              tried.failed ? "" : tried.data, b->items->task->name);
    pare_string_free(&tried);
    return NULL;
}

/* Names move into the arena; a task without subsets has one that is not told. */
static bool settle_subsets(builder *b) {
    pare_items *items = b->items;
    const char **names = PARE_PUSH(items->arena, const char *, items->n_subsets + 1, b->error);
    if (!names)
        return false;
    for (size_t i = 0; i < items->n_subsets; i++)
        names[i] = b->subsets[i];
    items->subsets = names;
    items->n_subsets = b->inner->subset ? items->n_subsets : 0;
    return true;
}

bool pare_items_open(pare_items *items, const pare_task *task, const char *folder, const pare_items_options *options, pare_error *error) {
    *items = (pare_items){.task = task, .options = *options, .arena = pare_arena_open(error)};
    builder b = {.items = items, .inner = task->inner, .error = error};
    if (!items->arena)
        return false;
    const task_file *file = find_file(&b, folder);
    bool done = file && read_examples(&b, file, folder) && read_documents(&b, file, folder) && settle_subsets(&b);
    pare_free(b.subsets);
    pare_free(b.counts);
    pare_free(b.examples);
    pare_string_free(&b.prefix);
    if (!done)
        pare_items_close(items);
    return done;
}

void pare_items_close(pare_items *items) {
    pare_free(items->items);
    pare_arena_close(items->arena);
    *items = (pare_items){0};
}
