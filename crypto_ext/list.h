/* An intrusive doubly linked list: a member of it costs no allocation and leaves in constant time. */
#ifndef SALLYPORT_LIST_H
#define SALLYPORT_LIST_H

#include <stddef.h>
#include <stdint.h>

struct sp_link {
    struct sp_link *prev;
    struct sp_link *next;
};

#define SP_CONTAINER(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void sp_list_init(struct sp_link *list)
{
    list->prev = list;
    list->next = list;
}

/* Of a list: nothing in it. Of a member: it is in no list. */
static inline int sp_list_empty(const struct sp_link *list)
{
    return list->next == list;
}

static inline void sp_list_append(struct sp_link *list, struct sp_link *link)
{
    link->prev = list->prev;
    link->next = list;
    list->prev->next = link;
    list->prev = link;
}

static inline void sp_list_remove(struct sp_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    sp_list_init(link);
}

#endif
