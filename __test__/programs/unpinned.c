// Preloaded: undoes the reference that napi-rs takes on its own image (dlopen of what is open already, never closed).
#define _GNU_SOURCE
#include <dlfcn.h>

void *dlopen(const char *file, int flags) {
  void *(*original)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
  void *handle = original(file, flags);
  if (handle && (flags & RTLD_NOLOAD)) dlclose(handle);
  return handle;
}
