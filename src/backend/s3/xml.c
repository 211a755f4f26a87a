/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk through a document of the service's. No tree is built and nothing is fetched: a document
 * type ends the walk at once, so there are no entities but XML's own five; depth, text and size are
 * bounded.
 *
 * One thing that is no XML is let pass, since services write it: Ceph repeats a key "\1" as
 * "&#x01;", also in answers where the key itself is percent-encoded. The element it stands in has
 * no text then.
 */
#include "backend/s3/client.h"

#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <string.h>

/* A walk under way. */
typedef struct walk_state {
    const grv_s3_xml_walk *walk;
    xmlParserCtxtPtr parser;
    const char *names[GRV_S3_XML_DEPTH_MAX]; /* of the parser's dictionary */
    unsigned depth;
    grv_buffer text;
    bool spoiled; /* the text has characters that XML cannot hold */
    grv_status status;
    grv_error *error;
} walk_state;

static void stop(walk_state *state, grv_status status)
{
    state->status = status;
    xmlStopParser(state->parser);
}

static void refuse(walk_state *state, const char *why)
{
    if (!state->status) {
        stop(state, grv_error_set(state->error, GRV_CORRUPT, "s3", "the answer's XML %s", why));
    }
}

static void on_start(void *context, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
                     int namespace_count, const xmlChar **namespaces, int attribute_count,
                     int default_count, const xmlChar **attributes)
{
    (void)prefix;
    (void)uri;
    (void)namespace_count;
    (void)namespaces;
    (void)attribute_count;
    (void)default_count;
    (void)attributes;
    walk_state *state = context;
    if (state->status) {
        return;
    }
    if (state->depth == GRV_S3_XML_DEPTH_MAX) {
        refuse(state, "is too deep");
        return;
    }
    state->names[state->depth++] = (const char *)name;
    state->text.size = 0;
    state->spoiled = false;
    if (state->walk->begin) {
        grv_status status =
            state->walk->begin(state->walk->context, state->names, state->depth, state->error);
        if (status) {
            stop(state, status);
        }
    }
}

static void on_text(void *context, const xmlChar *text, int size)
{
    walk_state *state = context;
    if (state->status) {
        return;
    }
    grv_status status =
        grv_buffer_append(&state->text, grv_bytes_of(text, (size_t)size), state->error);
    if (status) {
        refuse(state, "has an element that is too long");
    }
}

static void on_end(void *context, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
    (void)name;
    (void)prefix;
    (void)uri;
    walk_state *state = context;
    if (state->status || state->depth == 0) {
        return;
    }
    state->text.size = state->spoiled ? 0 : state->text.size;
    grv_status status = grv_buffer_append(&state->text, grv_bytes_of("", 1), state->error);
    if (status) {
        refuse(state, "has an element that is too long");
        return;
    }
    status = state->walk->end(state->walk->context, state->names, state->depth,
                              (char *)state->text.data, state->error);
    state->depth--;
    state->text.size = 0;
    state->spoiled = false;
    if (status) {
        stop(state, status);
    }
}

static void on_document_type(void *context, const xmlChar *name, const xmlChar *external_id,
                             const xmlChar *system_id)
{
    (void)name;
    (void)external_id;
    (void)system_id;
    refuse(context, "has a document type, which none of the service's answers has");
}

/* The parser complains. It is not stopped from in here, but nothing more is heard of it. */
static void on_complaint(void *context, xmlErrorPtr complaint)
{
    walk_state *state = context;
    if (complaint->level == XML_ERR_WARNING || state->status) {
        return;
    }
    if (complaint->code == XML_ERR_INVALID_CHAR && state->depth > 0) {
        state->spoiled = true;
        return;
    }
    state->status =
        grv_error_set(state->error, GRV_CORRUPT, "s3", "the answer is no XML: error %d in line %d",
                      complaint->code, complaint->line);
}

grv_status grv_s3_xml_walk_run(const grv_s3_xml_walk *walk, grv_bytes xml, grv_error *error)
{
    /* Services send line ends to keep a connection open until they have an answer. */
    while (xml.size > 0 && memchr(" \t\r\n", xml.data[0], 4)) {
        xml.data++;
        xml.size--;
    }
    if (xml.size == 0) {
        return grv_error_set(error, GRV_CORRUPT, "s3", "the answer is empty instead of XML");
    }
    if (xml.size > GRV_S3_XML_MAX) {
        return grv_error_set(error, GRV_CORRUPT, "s3", "the answer's XML has %zu bytes: too many",
                             xml.size);
    }
    walk_state state = {.walk = walk, .error = error};
    state.parser = xmlCreateMemoryParserCtxt((const char *)xml.data, (int)xml.size);
    if (!state.parser) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for an XML parser");
    }
    xmlSAXHandler events = {.initialized = XML_SAX2_MAGIC,
                            .startElementNs = on_start,
                            .endElementNs = on_end,
                            .characters = on_text,
                            .cdataBlock = on_text,
                            .internalSubset = on_document_type,
                            .serror = on_complaint};
    grv_buffer_init(&state.text, GRV_S3_XML_TEXT_MAX);
    (void)xmlCtxtUseOptions(state.parser, XML_PARSE_NONET | XML_PARSE_RECOVER);
    xmlSAXHandlerPtr original = state.parser->sax;
    state.parser->sax = &events;
    state.parser->userData = &state;
    (void)xmlParseDocument(state.parser); /* on_complaint has heard what is wrong */
    grv_status status = state.status;
    if (!status && state.depth > 0) {
        status = grv_error_set(error, GRV_CORRUPT, "s3", "the answer's XML ends early");
    }
    state.parser->sax = original;
    if (state.parser->myDoc) {
        xmlFreeDoc(state.parser->myDoc);
        state.parser->myDoc = NULL;
    }
    xmlFreeParserCtxt(state.parser);
    grv_buffer_done(&state.text);
    return status;
}
