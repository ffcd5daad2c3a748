/* A stand-in for libcuda.so.1: one device whose kernel is a plain loop. CHEAT=1 computes only the first half.
 * An event is the CPU time at which it was recorded, so the loop's time is its own on a fast machine (a fixed one could be
 * longer than the whole program saw) and on a busy one (waiting for a core is no computing). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef uint64_t ptr;
int cuInit(unsigned flags) { return flags; }
int cuGetErrorName(int status, const char **text) { *text = status == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_FAKE"; return 0; }
int cuDriverGetVersion(int *version) { *version = 12080; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int number) { *device = number; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "NVIDIA H100 80GB HBM3", size); return device; }
int cuDeviceGetPCIBusId(char *name, int size, int device) { strncpy(name, "0000:10:00.0", size); return device; }
int cuDeviceGetUuid(unsigned char *uuid, int device) {
  static const unsigned char mine[16] = {0x11, 0x11, 0x11, 0x11, 0xaa, 0xaa, 0xbb, 0xbb, 0xcc, 0xcc, 0, 0, 0, 0, 0, 1};
  memcpy(uuid, mine, 16);
  return device;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)85520809984u; return device; }
int cuDeviceGetAttribute(int *value, int which, int device) {
  switch (which) {
    case 75: *value = 9; break;
    case 76: *value = 0; break;
    case 16: *value = 132; break;
    case 13: *value = 1980000; break;
    case 36: *value = 2619000; break;
    case 32: *value = 1; break;
    default: return 1;
  }
  return device;
}
int cuCtxCreate_v2(void **context, unsigned flags, int device) { *context = malloc(1); return flags + device; }
int cuCtxDestroy_v2(void *context) { free(context); return 0; }
int cuMemGetInfo_v2(size_t *free_bytes, size_t *total) { *free_bytes = 80000000000u; *total = 85520809984u; return 0; }
int cuModuleLoadData(void **module, const char *ptx) { *module = (void *)ptx; return strstr(ptx, "basilica_matmul") ? 0 : 1; }
int cuModuleGetFunction(void **function, void *module, const char *name) { *function = module; return strcmp(name, "basilica_matmul"); }
int cuMemAlloc_v2(ptr *place, size_t size) { *place = (ptr)malloc(size); return *place ? 0 : 2; }
int cuMemcpyHtoD_v2(ptr to, const void *from, size_t size) { memcpy((void *)to, from, size); return 0; }
int cuMemcpyDtoH_v2(void *to, ptr from, size_t size) { memcpy(to, (void *)from, size); return 0; }
int cuEventCreate(void **event, unsigned flags) { *event = calloc(1, sizeof(struct timespec)); return flags; }
int cuEventRecord(void *event, void *stream) { return stream ? 1 : clock_gettime(CLOCK_PROCESS_CPUTIME_ID, event); }
int cuEventElapsedTime(float *ms, void *began, void *ended) {
  const struct timespec *from = began, *to = ended;
  *ms = (to->tv_sec - from->tv_sec) * 1e3f + (to->tv_nsec - from->tv_nsec) / 1e6f;
  return began == ended;
}
int cuCtxSynchronize(void) { return 0; }
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **arguments, void **extra) {
  const uint8_t *a = (const uint8_t *)*(ptr *)arguments[0], *b = (const uint8_t *)*(ptr *)arguments[1];
  uint32_t *c = (uint32_t *)*(ptr *)arguments[2], n = *(uint32_t *)arguments[3];
  if (!function || gz != 1 || bx != 16 || by != 16 || bz != 1 || shared || stream || extra || gx * 16 != n || gy * 16 != n) return 1;
  uint32_t last = getenv("CHEAT") ? n / 2 : n;
  memset(c, 0, (size_t)n * n * 4);
  for (uint32_t i = 0; i < last; i++)
    for (uint32_t k = 0; k < n; k++)
      for (uint32_t j = 0; j < n; j++) c[(size_t)i * n + j] += (uint32_t)a[(size_t)i * n + k] * b[(size_t)k * n + j];
  return 0;
}
