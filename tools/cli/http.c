#include "tools/cli/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tools/cli/cli.h"

#define CONNECT_TIMEOUT_MS 3000

struct http {
	CURL *curl;
	struct curl_slist *headers[3]; /* none, JSON, bytes */
	const char *bearer;	       /* in them: http_token_header()'s */
	struct http_reply *reply;
	bool too_long;
	/* of a stream */
	bool (*on_bytes)(void *arg, struct slice bytes);
	void *arg;
	uint64_t last_byte, first_ms, silence_ms;
	bool begun; /* a byte has come */
	bool silent;
};

struct token { /* of one node; they live as long as the program */
	struct token *next;
	char *url, *header;
};
static struct token *tokens; /* the newest first */
static const char *token_of_all;
static pthread_mutex_t token_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *const content_types[] = {"", "application/json", "application/octet-stream"};

void http_start(void)
{
	invariant(curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
}

static size_t on_body(char *ptr, size_t size, size_t count, void *arg)
{
	struct http *h = arg;
	long status = 0;

	if (h->on_bytes != NULL) {
		h->last_byte = now_ms();
		h->begun = true;
		curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
		if (status == 200)
			return h->on_bytes(h->arg, slice_of(ptr, size * count)) ? size * count
										: 0;
	}
	if (h->reply->body.len + size * count > HTTP_REPLY_MAX) {
		h->too_long = true;
		return 0;
	}
	writer_raw(&h->reply->body, ptr, size * count);
	return size * count;
}

static size_t on_header(char *ptr, size_t size, size_t count, void *arg)
{
	static const char name[] = "retry-after:";
	struct http *h = arg;
	size_t len = size * count;
	char text[32];

	if (len > sizeof name - 1 && strncasecmp(ptr, name, sizeof name - 1) == 0) {
		double seconds;
		snprintf(text, sizeof text, "%.*s", (int)(len - (sizeof name - 1)),
			 ptr + sizeof name - 1);
		seconds = strtod(text, NULL);
		if (seconds > 0 && seconds <= 60)
			h->reply->retry_after_ms = (uint32_t)(seconds * 1000);
	}
	return len;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t x, curl_off_t d)
{
	struct http *h = arg;

	if (h->on_bytes != NULL &&
	    now_ms() - h->last_byte > (h->begun ? h->silence_ms : h->first_ms))
		h->silent = true;
	return interrupted() || (h->on_bytes != NULL && h->silent);
}

/* The node's part of a URL: all of it but slashes at its end. */
static size_t base_length(const char *url)
{
	size_t len = strlen(url);

	while (len > 0 && url[len - 1] == '/')
		len--;
	return len;
}

/* With token_lock held. url may have a path behind the node's part. */
static const char *find_header(const char *url)
{
	for (const struct token *t = tokens; t != NULL; t = t->next) {
		size_t len = strlen(t->url);
		if (strncmp(url, t->url, len) == 0 && (url[len] == '\0' || url[len] == '/'))
			return t->header;
	}
	return "";
}

void http_set_token(const char *url, const char *token)
{
	char *header = mem_printf("Authorization: Bearer %s", token);
	struct token *t;

	pthread_mutex_lock(&token_lock);
	if (url == NULL) {
		token_of_all = header;
	} else if (strcmp(find_header(url), header) == 0) {
		mem_free(header);
	} else {
		t = mem_alloc(sizeof *t);
		*t = (struct token){tokens, mem_printf("%.*s", (int)base_length(url), url),
				    header};
		tokens = t;
	}
	pthread_mutex_unlock(&token_lock);
}

const char *http_token_header(const char *url)
{
	const char *header;

	pthread_mutex_lock(&token_lock);
	header = token_of_all != NULL ? token_of_all : find_header(url);
	pthread_mutex_unlock(&token_lock);
	return header;
}

static void free_headers(struct http *h)
{
	for (size_t i = 0; i < MEM_COUNT(h->headers); i++)
		curl_slist_free_all(h->headers[i]);
}

static void use_bearer(struct http *h, const char *bearer)
{
	char line[64];

	if (bearer == h->bearer)
		return;
	free_headers(h);
	for (size_t i = 0; i < MEM_COUNT(h->headers); i++) {
		h->headers[i] = curl_slist_append(NULL, "Expect:");
		snprintf(line, sizeof line, "Content-Type: %s", content_types[i]);
		if (*bearer != '\0')
			h->headers[i] = curl_slist_append(h->headers[i], bearer);
		if (i > 0)
			h->headers[i] = curl_slist_append(h->headers[i], line);
	}
	h->bearer = bearer;
}

struct http *http_new(void)
{
	struct http *h = mem_zalloc(sizeof *h);

	h->curl = curl_easy_init();
	invariant(h->curl != NULL);
	curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h->curl, CURLOPT_PROXY, ""); /* nodes are asked directly */
	curl_easy_setopt(h->curl, CURLOPT_PATH_AS_IS, 1L); /* a key may be ".." */
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(h->curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(h->curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	curl_easy_setopt(h->curl, CURLOPT_USERAGENT, "ostrakon");
	curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, h);
	curl_easy_setopt(h->curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(h->curl, CURLOPT_HEADERDATA, h);
	curl_easy_setopt(h->curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(h->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(h->curl, CURLOPT_XFERINFODATA, h);
	return h;
}

void http_free(struct http *h)
{
	if (h == NULL)
		return;
	curl_easy_cleanup(h->curl);
	free_headers(h);
	mem_free(h);
}

void http_reply_free(struct http_reply *r)
{
	writer_free(&r->body);
	memset(r, 0, sizeof *r);
}

static int error_of(struct http *h, CURLcode code, const char *url, struct errmsg *m)
{
	double connected = 0;

	curl_easy_getinfo(h->curl, CURLINFO_CONNECT_TIME, &connected);
	switch (code) {
	case CURLE_OK:
		return ERR_NONE;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return err_set(m, ERR_SYNTAX, "%s is not an http:// URL", url);
	case CURLE_COULDNT_CONNECT:
	case CURLE_COULDNT_RESOLVE_HOST:
		return err_set(m, ERR_UNREACHABLE, "cannot reach %s: %s", url,
			       curl_easy_strerror(code));
	case CURLE_OPERATION_TIMEDOUT:
		if (connected == 0)
			return err_set(m, ERR_UNREACHABLE, "no connection to %s in time", url);
		return err_set(m, ERR_TIMEOUT, "no answer from %s in time", url);
	case CURLE_WRITE_ERROR:
		if (h->too_long)
			return err_set(m, ERR_LIMIT, "the answer of %s is longer than %u bytes",
				       url, HTTP_REPLY_MAX);
		break;
	case CURLE_ABORTED_BY_CALLBACK:
		if (h->silent)
			return err_set(m, ERR_TIMEOUT, "%s fell silent", url);
		return err_set(m, ERR_CLOSED, "interrupted");
	default: /* curl's list is long and open */
		break;
	}
	return err_set(m, ERR_CLOSED, "the connection to %s broke: %s", url,
		       curl_easy_strerror(code));
}

int http_call(struct http *h, const char *method, const char *url, const char *content_type,
	      struct slice body, uint64_t timeout_ms, struct http_reply *reply,
	      struct errmsg *m)
{
	struct curl_slist *headers;
	long status = 0;
	CURLcode code;

	use_bearer(h, http_token_header(url));
	headers = h->headers[0];
	writer_reset(&reply->body);
	reply->status = 0;
	reply->retry_after_ms = 0;
	h->reply = reply;
	h->too_long = h->silent = false;
	h->on_bytes = NULL;
	for (size_t i = 1; i < MEM_COUNT(content_types); i++)
		if (content_type != NULL && strcmp(content_type, content_types[i]) == 0)
			headers = h->headers[i];
	if (timeout_ms == 0)
		timeout_ms = 1; /* curl takes 0 for "no limit" */

	curl_easy_setopt(h->curl, CURLOPT_URL, url);
	if (body.ptr != NULL) {
		curl_easy_setopt(h->curl, CURLOPT_POST, 1L);
		curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, body.ptr);
		curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
	} else {
		curl_easy_setopt(h->curl, CURLOPT_HTTPGET, 1L);
	}
	curl_easy_setopt(h->curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(h->curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(
		h->curl, CURLOPT_CONNECTTIMEOUT_MS,
		(long)(timeout_ms < CONNECT_TIMEOUT_MS ? timeout_ms : CONNECT_TIMEOUT_MS));
	code = curl_easy_perform(h->curl);
	if (code != CURLE_OK)
		return error_of(h, code, url, m);
	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
	reply->status = (unsigned)status;
	writer_u8(&reply->body, 0);
	reply->body.len--;
	return ERR_NONE;
}

int http_stream(struct http *h, const char *url, const char *last_event_id, uint64_t first_ms,
		uint64_t silence_ms, bool (*on_bytes)(void *arg, struct slice bytes), void *arg,
		struct http_reply *reply, struct errmsg *m)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Accept: text/event-stream");
	const char *bearer = http_token_header(url);
	char line[128];
	long status = 0;
	CURLcode code;

	if (*last_event_id != '\0') {
		snprintf(line, sizeof line, "Last-Event-ID: %s", last_event_id);
		headers = curl_slist_append(headers, line);
	}
	if (*bearer != '\0')
		headers = curl_slist_append(headers, bearer);
	writer_reset(&reply->body);
	reply->status = 0;
	h->reply = reply;
	h->too_long = h->silent = false;
	h->on_bytes = on_bytes;
	h->arg = arg;
	h->first_ms = first_ms;
	h->silence_ms = silence_ms;
	h->begun = false;
	h->last_byte = now_ms();
	curl_easy_setopt(h->curl, CURLOPT_URL, url);
	curl_easy_setopt(h->curl, CURLOPT_HTTPGET, 1L);
	curl_easy_setopt(h->curl, CURLOPT_CUSTOMREQUEST, "GET");
	curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(h->curl, CURLOPT_TIMEOUT_MS, 0L);
	curl_easy_setopt(
		h->curl, CURLOPT_CONNECTTIMEOUT_MS,
		(long)(first_ms < CONNECT_TIMEOUT_MS ? first_ms : CONNECT_TIMEOUT_MS));
	code = curl_easy_perform(h->curl);
	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
	reply->status = (unsigned)status;
	writer_u8(&reply->body, 0);
	reply->body.len--;
	curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(headers);
	h->on_bytes = NULL;
	return error_of(h, code, url, m);
}

void http_escape(struct writer *w, struct slice text)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < text.len; i++) {
		uint8_t b = text.ptr[i];
		if ((b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') ||
		    (b >= '0' && b <= '9') || b == '-' || b == '_' || b == '.' || b == '~') {
			writer_u8(w, b);
		} else {
			writer_u8(w, '%');
			writer_u8(w, (uint8_t)digits[b >> 4]);
			writer_u8(w, (uint8_t)digits[b & 15]);
		}
	}
}
