/* What generated C needs of string.h; `library.c` has the functions. */
#ifndef GRANDOPT_STRING_H
#define GRANDOPT_STRING_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);

/* Instructions where the number of bytes is known, also from a compiler that is told of no library. */
#define memcpy(to, from, bytes) __builtin_memcpy(to, from, bytes)
#define memset(to, value, bytes) __builtin_memset(to, value, bytes)

#endif
