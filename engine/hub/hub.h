/* engine/hub/hub.h: parts of the downloader, private to engine/hub. The public call is wt_fetch (engine/engine.h).
 *
 * Life of a file: HEAD by hand (commit, etag, size, signed address; the token never leaves the first host) -> lock of the blob -> parts by Range into
 * BLOB.wattune.incomplete beside a mapped progress record -> digest while it arrives -> sync -> rename to the final name -> symlink in the snapshot. */
#ifndef WT_ENGINE_HUB_HUB_H
#define WT_ENGINE_HUB_HUB_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/sha256.h"
#include "engine/engine.h"

enum wt_source_kind { WT_SOURCE_NONE, WT_SOURCE_URL, WT_SOURCE_FILE, WT_SOURCE_HF_MODEL, WT_SOURCE_HF_DATASET, WT_SOURCE_MODELSCOPE };

struct wt_source {
  enum wt_source_kind kind;
  char *repo;     /* ORG/NAME or NAME */
  char *revision; /* NULL = default of the hub */
  char *path;     /* file inside a dataset repo, or NULL */
  char *url;      /* URL: as given; FILE: the local path */
};
/* WT_EUSAGE for a malformed source. A string without a known scheme is WT_SOURCE_NONE. */
enum wt_status wt_source_parse(const char *text, struct wt_source *ret, struct wt_error *err) WT_MUST_CHECK;
void wt_source_release(struct wt_source *s);

/* A relative path from a server: true when it cannot leave its folder (no "..", absolute, drive, backslash, control character, device name). */
bool wt_name_is_safe(const char *path);
/* An etag or commit that may be a file name. */
bool wt_etag_is_safe(const char *etag);

/* ---- HTTP ---- */
struct wt_http_reply {
  long status;
  char etag[256], linked_etag[256], commit[64], error_code[64], error_message[512], location[4096];
  bool location_cut;   /* longer than that: not to be used */
  char next[2048];     /* rel="next" of Link, "" none */
  int64_t size;        /* Content-Length, -1 unknown */
  int64_t linked_size; /* X-Linked-Size, -1 */
  uint64_t range_from, range_total; /* of Content-Range; UINT64_MAX unknown */
  bool accept_ranges;
  bool encoded;         /* Content-Encoding: what is counted is not what is meant (neither sizes nor ranges) */
  char modified[64];    /* Last-Modified */
  double retry_after_s; /* -1 unknown; from seconds or a date */
};
void wt_http_reply_clear(struct wt_http_reply *r);
/* One line of an answer's head (any bytes; need not end in a line break). A status line begins the reply anew. */
void wt_http_header(const char *line, size_t bytes, struct wt_http_reply *r);
struct wt_http {
  char *token;        /* NULL = none; sent only to the host it was meant for */
  bool allow_http;
  bool (*cancelled)(void *ctx);
  void *ctx;
  void *easy;         /* CURL handle that keeps its connection from request to request; NULL = a new one each time. Of one thread. */
  unsigned tries;     /* of wt_http_retry; 0 = WT_HTTP_TRIES */
  bool beginning;     /* a body that ends early is an answer all the same: its head is what is asked for */
  bool follow;        /* requests without the token follow redirects (a file's store may send on) */
};
#define WT_HTTP_TRIES 8u
#define WT_TRIES_UNREACHED 5u /* no server has answered: about 6 s */
bool wt_http_unreached(int curl_code); /* no connection at all: refused, or no such name */
/* One request; redirects are not followed but for `follow`. body may be NULL (HEAD). Transport failures that may pass, 408, 429, 5xx are tried again with jittered
 * back-off, Retry-After honoured; then WT_EDOWNLOAD. Any other HTTP status is WT_OK. */
enum wt_status wt_http_retry(const struct wt_http *h, bool head, const char *url, bool with_token, const char *range, struct wt_buf *body, struct wt_http_reply *ret, struct wt_error *err) WT_MUST_CHECK;
/* Error of a status with the hub's own words: 401/403 gated, 404, ... */
enum wt_status wt_http_refusal(const struct wt_http_reply *r, const char *what, struct wt_error *err);
bool wt_same_host(const char *url_a, const char *url_b); /* scheme, host and port */
/* ---- hops.c: redirects by hand ---- */
/* Location, absolute or relative to the address that answered so; heap, NULL when it is no address of http or https. */
char *wt_url_join(const char *url, const char *location);
bool wt_http_redirects(const struct wt_http_reply *r); /* the answer names another address */
/* The next hop in place of *url; the token goes along to the same host only. WT_EDOWNLOAD where none may be followed (https never becomes http). */
enum wt_status wt_http_hop(char **url, bool *with_token, const struct wt_http_reply *r, const char *what, struct wt_error *err) WT_MUST_CHECK;
/* HEAD, or where a server refuses that method a GET of the first byte: status 200 and the size of the whole (-1 unknown). Redirects are not followed.
 * begin, if not NULL: a GET of as many bytes as it holds in place of the HEAD; what has come of them is in it, the whole of a small file if all goes well. */
enum wt_status wt_http_head(const struct wt_http *h, const char *url, bool with_token, struct wt_buf *begin, struct wt_http_reply *ret, struct wt_error *err) WT_MUST_CHECK;
/* GET over redirects, each of them a hop (wt_http_hop). */
enum wt_status wt_http_get(const struct wt_http *h, const char *url, bool with_token, struct wt_buf *body, struct wt_http_reply *ret, struct wt_error *err) WT_MUST_CHECK;
/* What tells two versions of a file apart: its etag, else when it was changed; "" nothing does. */
const char *wt_http_version(const struct wt_http_reply *r);
char *wt_url_escape(const char *text, bool keep_slash);  /* heap */
double wt_backoff_s(unsigned tries);                     /* jittered, 0.5 s doubling to 30 s */
double wt_stall_s(void); /* seconds without a byte after which a connection is dropped: HF_HUB_DOWNLOAD_TIMEOUT as in huggingface_hub, else 30 */
void *wt_http_easy_new(const struct wt_http *h, const char *url); /* CURL handle with the common options; NULL: out of memory */
void wt_http_easy_free(void *easy);
void wt_http_wait(const struct wt_http *h, double s); /* sleeps, unless cancelled */

/* ---- downloads ---- */
struct wt_download {
  const char *name;       /* for messages and progress */
  char *url;              /* to GET from; heap, may be renewed */
  bool with_token;        /* the GET goes to the host of the token */
  char *final_path;       /* where it goes when whole */
  char *lock_path;        /* NULL = none */
  uint64_t size;          /* UINT64_MAX unknown */
  bool encoded;           /* the server sends it encoded: ranges would be of that */
  char etag[256];         /* of the answer, for resuming */
  bool etag_of_url;       /* answers from url carry this etag as long as the file is the same */
  char commit[64];        /* X-Repo-Commit of the answer, "" none */
  char digest[65];        /* expected: 64 hex sha256, 40 hex git blob sha1, "" none */
  /* Asks for a fresh address when a signed one has expired (403). May be NULL. */
  enum wt_status (*renew)(struct wt_download *d, struct wt_error *err);
  void *ctx;
  bool done, cached;
  bool small;             /* so small, by its name, that it is asked for with its bytes */
  char *body;             /* the bytes, when that went well and they have the digest; heap */
  size_t body_bytes;
  bool refused;           /* the server has answered that it will not or cannot give it */
  bool replace;           /* an existing final file is stale: write it anew */
  uint64_t have;          /* bytes so far */
};
/* All of them, several at once; stops at the first that cannot be had (the others keep what they have for the next time). */
enum wt_status wt_download_all(const struct wt_http *h, const struct wt_fetch_options *o, struct wt_download *d, size_t n, struct wt_error *err) WT_MUST_CHECK;

/* Progress record of a partial file, mapped so that a killed process leaves it true. */
#define WT_PARTS_MAX 16
struct wt_part {
  uint64_t begin, end, at; /* bytes [begin, at) are on disk, [at, end) are wanted */
};
struct wt_parts {
  char magic[8];
  uint64_t size;
  char etag[256];
  uint64_t n;
  struct wt_part part[WT_PARTS_MAX];
};

/* ---- one fetch ---- */
struct wt_remote_file {
  char *name;
  uint64_t size;     /* UINT64_MAX unknown */
  char digest[65];
};
struct wt_fetcher {
  const struct wt_fetch_options *options;
  struct wt_http http;
  struct wt_source source;
  const char *text;          /* SOURCE as given */
  char *endpoint, *commit, *folder; /* folder: what is returned */
  struct wt_remote_file *files;     /* chosen */
  size_t files_n;
  struct wt_download *downloads;    /* a row a file, same order */
  char **contexts;                  /* resolve addresses, for renewing */
  struct wt_hf_early *early;        /* asked for beside the listing, or NULL */
  bool no_listing;                  /* the server has files but no list of them: names are guesses, and one that is not there is left out */
};
enum wt_status wt_fetch_hf(struct wt_fetcher *f, struct wt_error *err) WT_MUST_CHECK;
/* ask_hf.c: a row of f->downloads a file, with what the hub says of it; several HEADs at once. f->commit, or the revision where that is not known. */
enum wt_status wt_hf_ask_for_all(struct wt_fetcher *f, struct wt_error *err) WT_MUST_CHECK;
/* HEAD by hand: digest, size, commit, and the address to GET from. Redirects within the hub (renamed repositories) are followed, others lead to the store.
 * row: what the listing says of the file, NULL nothing. */
enum wt_status wt_hf_head_file(const struct wt_fetcher *f, const char *resolve, const struct wt_remote_file *row, struct wt_download *d, struct wt_error *err) WT_MUST_CHECK;
/* early_hf.c: begins to ask for what nearly every model has; NULL is allowed everywhere. A failure of it is none of the fetch. */
struct wt_hf_early *wt_hf_early_start(const struct wt_fetcher *f);
/* Fills row i of f->downloads from an early answer for its name and f->commit (waiting for it). False: it has to be asked for. */
bool wt_hf_early_take(struct wt_hf_early *e, const struct wt_fetcher *f, size_t i);
void wt_hf_early_end(struct wt_hf_early *e);
bool wt_hf_is_small(const struct wt_fetcher *f, const char *name, uint64_t size); /* worth asking for with its bytes (size UINT64_MAX: unknown) */
char *wt_hf_resolve_url(const struct wt_fetcher *f, const char *name); /* heap */
const char *wt_hf_revision(const struct wt_fetcher *f);
bool wt_hf_is_commit(const char *s);
/* fetch_beside.c: names of what may lie beside weights, ended by NULL: config, tokenizer, chat template. */
extern const char *const wt_side_names[];
void wt_fetch_forget_files(struct wt_fetcher *f); /* f->files, f->downloads and f->contexts are none again */
enum wt_status wt_fetch_hf_headers(struct wt_fetcher *f, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_fetch_modelscope(struct wt_fetcher *f, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_fetch_url(struct wt_fetcher *f, struct wt_error *err) WT_MUST_CHECK;
/* The same for a file of weights, with the config and the tokenizer that lie beside it at the server (those that are there). */
enum wt_status wt_fetch_url_model(struct wt_fetcher *f, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_fetch_local(struct wt_fetcher *f, struct wt_error *err) WT_MUST_CHECK;

/* Of all names in a repository, those that training needs (or that match options->include); all checked to be safe names. index: text of
 * model.safetensors.index.json, or NULL. dataset: every file. Replaces f->files. */
enum wt_status wt_fetch_choose(struct wt_fetcher *f, const struct wt_json *index, bool dataset, struct wt_error *err) WT_MUST_CHECK;
/* Appends the files that a listing names: a repository's object (sha into ret_sha, which may be NULL), or a page of its tree. Names are not judged here. */
enum wt_status wt_listing_read_hf(struct wt_fetcher *f, const char *text, size_t n, char ret_sha[64], struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_listing_read_modelscope(struct wt_fetcher *f, const char *text, size_t n, struct wt_error *err) WT_MUST_CHECK;
/* Files of f->downloads into f->folder: small ones whole, weights only as sparse files with their header. What is there already stays. */
enum wt_status wt_fetch_heads(struct wt_fetcher *f, struct wt_error *err) WT_MUST_CHECK;
bool wt_name_is_weights(const char *name); /* .safetensors or .gguf */
/* Whether training needs a file of this name (or options->include matches it). index: as for wt_fetch_choose. */
bool wt_fetch_wants(const struct wt_fetcher *f, const char *name, const struct wt_json *index, bool dataset, bool any_safetensors);
/* Bytes against a digest of 64 digits (sha256) or 40: git's sha1 of a blob, or, as some mirrors have it, of the bytes alone. */
bool wt_has_digest(const void *data, size_t n, const char *digest);
void wt_fetcher_release(struct wt_fetcher *f);
/* One file of unknown size called name, in f->files and f->downloads. */
enum wt_status wt_fetch_one(struct wt_fetcher *f, const char *name, struct wt_error *err) WT_MUST_CHECK;
char *wt_name_of_url(const char *url); /* last component of its path, decoded; "download" when that is no file's name; heap */
enum wt_status wt_fetch_add_file(struct wt_fetcher *f, const char *name, uint64_t size, const char *digest, struct wt_error *err) WT_MUST_CHECK;
/* places.c: WT_EDOWNLOAD when a folder on the way to a file of --out is a symbolic link, or when two names would be one file there. */
enum wt_status wt_fetch_check_places(const struct wt_fetcher *f, struct wt_error *err) WT_MUST_CHECK;
/* Removes a symbolic link at a place that is about to be written: one to a device would be written through. */
void wt_fetch_unlink_link(const char *path);
/* Checks the places and the disk, downloads what is not cached; nothing with dry_run. */
enum wt_status wt_fetch_transfer(struct wt_fetcher *f, struct wt_error *err) WT_MUST_CHECK;
char *wt_hf_endpoint(void);
char *wt_hf_token(void); /* HF_TOKEN, or the token file; NULL none */
bool wt_env_true(const char *name);

#endif
