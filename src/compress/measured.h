/* measured: what methods lost in our own studies (docs/methods.csv, docs/methods-smollm2.csv), in nats per token above the dense model,
 * at equal shares of the weights outside of embeddings removed. */
#ifndef COMPRESS_MEASURED_H
#define COMPRESS_MEASURED_H

enum { MEASURED_SHARES = 5, MEASURED_MODELS = 3 };

typedef struct {
    const char *method;
    double excess[MEASURED_MODELS][MEASURED_SHARES]; /* NAN where it does not reach the share */
} measured_method;

extern const double measured_shares[MEASURED_SHARES];
extern const char *const measured_models[MEASURED_MODELS];
extern const measured_method measured_methods[]; /* method NULL at the end */

#endif
