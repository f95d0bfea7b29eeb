/* base/units.h: quantities as people write them, and back.
 *
 * Accepted: time "90s 45m 2h 1d" (and "1h30m"), energy "300J 50Wh 0.2kWh", power "35W" ("900mW"), memory "800MiB 4GiB 4GB",
 * money "0.25EUR", price "0.30EUR/kWh", carbon "380g/kWh". A bare number is seconds, Wh, W, bytes (money and price
 * need their currency; carbon: g/kWh).
 * Anything else is an error that shows the accepted forms. Not locale-dependent; negative, NaN and infinite are refused. */
#ifndef WT_BASE_UNITS_H
#define WT_BASE_UNITS_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

struct wt_money {
  double amount;
  char currency[4]; /* ISO 4217, "" = unknown */
};

/* what names the option in messages ("--max-time"). */
enum wt_status wt_parse_time(const char *text, const char *what, double *ret_s, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_parse_energy(const char *text, const char *what, double *ret_wh, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_parse_power(const char *text, const char *what, double *ret_w, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_parse_memory(const char *text, const char *what, uint64_t *ret_bytes, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_parse_money(const char *text, const char *what, struct wt_money *ret, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_parse_price(const char *text, const char *what, struct wt_money *ret_per_kwh, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_parse_carbon(const char *text, const char *what, double *ret_g_per_kwh, struct wt_error *err) WT_MUST_CHECK;
/* grams: "50g", "0.2kg", bare = g (for --max-co2) */
enum wt_status wt_parse_mass(const char *text, const char *what, double *ret_g, struct wt_error *err) WT_MUST_CHECK;
/* Strict number, whole text, C locale. */
enum wt_status wt_parse_number(const char *text, const char *what, double *ret, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_parse_u64(const char *text, const char *what, uint64_t *ret, struct wt_error *err) WT_MUST_CHECK;

/* For people, into buf: "2 h 10 min", "48.2 s", "0.31 kWh", "12.4 Wh", "3.1 J", "1.4 GiB", "0.0312 EUR". Return buf. */
#define WT_UNIT_BYTES 48
char *wt_format_time(double s, char *buf);
char *wt_format_energy(double wh, char *buf);
char *wt_format_power(double w, char *buf);
char *wt_format_bytes(double bytes, char *buf);
char *wt_format_money(struct wt_money m, char *buf);
char *wt_format_mass(double g, char *buf);
/* As an option takes it ("42.9MiB"), rounded up: a limit for which what was asked fits. */
char *wt_option_time(double s, char *buf);
char *wt_option_energy(double wh, char *buf);
char *wt_option_power(double w, char *buf);
char *wt_option_bytes(double bytes, char *buf);
char *wt_option_money(struct wt_money m, char *buf);
char *wt_option_mass(double g, char *buf);
char *wt_format_count(double n, char *buf); /* "124.4 M", "260 k" */

#endif
