/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a request may come from a web page that its user never meant to give the store to. */
#ifndef GRV_HTTP_ORIGIN_H
#define GRV_HTTP_ORIGIN_H

/*
 * What is wrong with a request to a server that asks nobody for a token, or NULL; each field may be
 * NULL. A browser sends what any page tells it to, also to this machine's own addresses: then it
 * says so in Sec-Fetch-Site (W3C Fetch Metadata) or, if it is older, in Origin (RFC 6454). And
 * where a page's own name has become the name of this machine (DNS rebinding), Host has that name;
 * addresses, "localhost" and names without a dot cannot be such.
 */
const char *http_origin_fault(const char *host, const char *site, const char *origin);

#endif
