/* Adafactor (Shazeer and Stern 2018) without momentum and with a given learning rate: the second moment of a matrix is kept as row and column means; the update is
 * clipped to root mean square 1. Vectors keep the whole second moment. */
#include "engine/optim/optim.h"

#include <math.h>

static size_t state_bytes(size_t rows, size_t cols)
{
  return (rows > 1 && cols > 1 ? rows + cols : rows * cols) * sizeof(float);
}

static void update_vector(const struct wt_optim_tensor *p, const struct wt_optim_hyper *h, double decay)
{
  float *v = p->state;
  double sum = 0;
  for (size_t i = 0; i < p->n; i++) {
    double g = (double)p->grad[i] * h->grad_scale;
    v[i] = (float)(decay * (double)v[i] + (1 - decay) * (g * g + 1e-30));
    sum += g * g / (double)v[i];
  }
  double rms = sqrt(sum / (double)p->n), shrink = rms > 1 ? 1 / rms : 1, keep = 1 - h->lr * h->weight_decay;
  for (size_t i = 0; i < p->n; i++)
    p->value[i] = (float)((double)p->value[i] * keep - h->lr * shrink * (double)p->grad[i] * h->grad_scale / sqrt((double)v[i]));
}

/* Row and column means of the squared gradient move into the state. Returns the mean of the row means. */
static double factor(const struct wt_optim_tensor *p, const struct wt_optim_hyper *h, double decay)
{
  float *row = p->state, *col = row + p->rows;
  size_t rows = p->rows, cols = p->cols;
#pragma omp parallel for schedule(static) if (p->n > 65536)
  for (size_t r = 0; r < rows; r++) {
    double sum = 0;
    for (size_t c = 0; c < cols; c++) {
      double g = (double)p->grad[r * cols + c] * h->grad_scale;
      sum += g * g + 1e-30;
    }
    row[r] = (float)(decay * (double)row[r] + (1 - decay) * sum / (double)cols);
  }
#pragma omp parallel for schedule(static) if (p->n > 65536)
  for (size_t first = 0; first < cols; first += 16) {
    double sum[16] = {0};
    size_t n = cols - first < 16 ? cols - first : 16;
    for (size_t r = 0; r < rows; r++)
      for (size_t c = 0; c < n; c++) {
        double g = (double)p->grad[r * cols + first + c] * h->grad_scale;
        sum[c] += g * g + 1e-30;
      }
    for (size_t c = 0; c < n; c++)
      col[first + c] = (float)(decay * (double)col[first + c] + (1 - decay) * sum[c] / (double)rows);
  }
  double mean = 0;
  for (size_t r = 0; r < rows; r++)
    mean += (double)row[r];
  return mean / (double)rows;
}

static void update(const struct wt_optim_tensor *p, const struct wt_optim_hyper *h)
{
  double decay = 1 - pow((double)h->t, -0.8);
  if (p->rows <= 1 || p->cols <= 1) {
    update_vector(p, h, decay);
    return;
  }
  double mean = factor(p, h, decay), sum = 0;
  const float *row = p->state, *col = row + p->rows;
  size_t rows = p->rows, cols = p->cols;
  for (size_t r = 0; r < rows; r++) {
    double part = 0;
    for (size_t c = 0; c < cols; c++) {
      double g = (double)p->grad[r * cols + c] * h->grad_scale;
      part += g * g / (double)col[c];
    }
    sum += part * mean / (double)row[r];
  }
  double rms = sqrt(sum / (double)p->n), shrink = rms > 1 ? 1 / rms : 1, keep = 1 - h->lr * h->weight_decay;
#pragma omp parallel for schedule(static) if (p->n > 65536)
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < cols; c++) {
      size_t i = r * cols + c;
      double u = (double)p->grad[i] * h->grad_scale * sqrt(mean / ((double)row[r] * (double)col[c]));
      p->value[i] = (float)((double)p->value[i] * keep - h->lr * shrink * u);
    }
}

const struct wt_optim_ops wt_optim_adafactor = {.id = WT_OPTIMIZER_ADAFACTOR,
                                                .name = "adafactor",
                                                .what = "Adafactor: row and column means of the second moment",
                                                .state_bytes = state_bytes,
                                                .update = update,
                                                .bytes_per_param = 24};
