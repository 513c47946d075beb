/* The scratch memory of an agent's calls: each has a block of its own, which the next one takes over. The pool is
 * guarded by the GIL. Part of `native_binding.c`, which alone includes it.
 */
static void *take_scratch(Agent *self) {
    if (self->scratch_bytes == 0) return NULL;
    if (self->count > 0) return self->blocks[--self->count];
    void *block = NULL;
    if (posix_memalign(&block, ALIGNMENT, self->scratch_bytes) != 0) PyErr_NoMemory();
    return block;
}

static void give_scratch(Agent *self, void *block) {
    if (block == NULL) return;
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? 2 * self->capacity : 4;
        void **blocks = realloc(self->blocks, capacity * sizeof *blocks);
        if (blocks == NULL) {
            free(block);
            return;
        }
        self->blocks = blocks, self->capacity = capacity;
    }
    self->blocks[self->count++] = block;
}
