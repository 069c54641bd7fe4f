#include "consensus/pool.h"

#include "base/mem.h"

static void list_append(struct pool_list *l, struct pool_entry *e)
{
	e->prev = l->tail;
	e->next = NULL;
	if (l->tail)
		l->tail->next = e;
	else
		l->head = e;
	l->tail = e;
	l->count++;
}

static void list_remove(struct pool_list *l, struct pool_entry *e)
{
	if (e->prev)
		e->prev->next = e->next;
	else
		l->head = e->next;
	if (e->next)
		e->next->prev = e->prev;
	else
		l->tail = e->prev;
	e->prev = e->next = NULL;
	l->count--;
}

static struct pool_list *list_of(struct pool *p, const struct pool_entry *e)
{
	return e->proposed ? &p->proposed : &p->free;
}

void pool_init(struct pool *p, uint64_t seed)
{
	*p = (struct pool){0};
	map_init(&p->by_id, seed);
}

static void free_list(struct pool_list *l)
{
	struct pool_entry *e = l->head;
	while (e) {
		struct pool_entry *next = e->next;
		mem_free(e->bytes);
		mem_free(e);
		e = next;
	}
}

void pool_free(struct pool *p)
{
	free_list(&p->free);
	free_list(&p->proposed);
	map_free(&p->by_id);
}

int pool_add(struct pool *p, const struct pool_tx *tx, uint64_t now)
{
	if (map_get(&p->by_id, tx->id.b))
		return ERR_EXISTS;
	if (pool_count(p) >= POOL_TXS_MAX || p->bytes + tx->bytes.len > POOL_BYTES_MAX)
		return ERR_BUSY;
	struct pool_entry *e = mem_zalloc(sizeof *e);
	e->id = tx->id;
	e->bytes = mem_dup(tx->bytes.ptr, tx->bytes.len);
	e->size = tx->bytes.len;
	e->arrived = now;
	p->bytes += e->size;
	list_append(&p->free, e);
	map_put(&p->by_id, e->id.b, e);
	return ERR_NONE;
}

struct pool_entry *pool_find(const struct pool *p, const struct hash *id)
{
	return map_get(&p->by_id, id->b);
}

bool pool_remove(struct pool *p, const struct hash *id)
{
	struct pool_entry *e = map_remove(&p->by_id, id->b);
	if (!e)
		return false;
	list_remove(list_of(p, e), e);
	p->bytes -= e->size;
	mem_free(e->bytes);
	mem_free(e);
	return true;
}

void pool_propose(struct pool *p, struct pool_entry *e)
{
	if (e->proposed)
		return;
	list_remove(&p->free, e);
	e->proposed = true;
	list_append(&p->proposed, e);
}

void pool_unpropose_all(struct pool *p)
{
	for (struct pool_entry *e = p->proposed.head; e; e = e->next)
		e->proposed = false;
	if (!p->proposed.head)
		return;
	p->proposed.tail->next = p->free.head;
	if (p->free.head)
		p->free.head->prev = p->proposed.tail;
	else
		p->free.tail = p->proposed.tail;
	p->free.head = p->proposed.head;
	p->free.count += p->proposed.count;
	p->proposed = (struct pool_list){0};
}

struct pool_entry *pool_oldest(const struct pool *p)
{
	const struct pool_entry *a = p->free.head, *b = p->proposed.head;
	if (!a || !b)
		return (struct pool_entry *)(a ? a : b);
	return (struct pool_entry *)(a->arrived <= b->arrived ? a : b);
}
