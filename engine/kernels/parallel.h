/* engine/kernels/parallel.h: how the kernels open an OpenMP loop: always with the engine's number of threads, and only when there is enough
 * to do. Internal. */
#ifndef WT_ENGINE_KERNELS_PARALLEL_H
#define WT_ENGINE_KERNELS_PARALLEL_H

#include "engine/kernels/gemm.h"

/* Elements of work below which a second thread costs more than it brings (a fork and join is about 2 us). */
#define WT_PARALLEL_MIN 16384

#define WT_PRAGMA(x) _Pragma(#x)
#define WT_PARALLEL_FOR(work) WT_PRAGMA(omp parallel for schedule(static) num_threads(wt_gemm_threads()) if ((work) >= WT_PARALLEL_MIN))

#endif
