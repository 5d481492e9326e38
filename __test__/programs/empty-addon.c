// An addon without anything in it. glibc unloads what nobody holds any more when it unloads something else.
void *napi_register_module_v1(void *env, void *exports) {
  (void)env;
  return exports;
}
