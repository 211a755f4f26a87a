/* SPDX-License-Identifier: Apache-2.0 */
/* Headers and XML of answers: what is understood, and what is refused. */
#include "backend/s3/client.h"
#include "test.h"

#include <stdlib.h>

static void line(grv_s3_head *head, const char *text)
{
    grv_s3_head_line(head, grv_bytes_of(text, strlen(text)));
}

static grv_bytes text_of(const char *text)
{
    return grv_bytes_of(text, strlen(text));
}

static void test_headers(void **state)
{
    (void)state;
    grv_s3_head head = {0};
    line(&head, "HTTP/1.1 206 Partial Content\r\n");
    line(&head, "ETag: \"abc-2\"\r\n");
    line(&head, "x-amz-request-id: tx1-2\r\n");
    line(&head, "X-Amz-Meta-Graviton-Put: 0123456789abcdef0123456789abcdef\r\n");
    line(&head, "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    line(&head, "Date: Thu, 29 Feb 2024 23:59:59 GMT\r\n");
    line(&head, "Content-Length:10\r\n");
    line(&head, "Content-Range: bytes 5-14/100\r\n");
    line(&head, "Retry-After: 7 \r\n");
    line(&head, "x-amz-bucket-region: eu-west-1\r\n");
    assert_false(head.is_whole);
    line(&head, "\r\n");
    assert_true(head.is_whole);
    assert_int_equal(head.answer.http, 206);
    assert_string_equal(head.answer.etag, "abc-2");
    assert_string_equal(head.answer.request_id, "tx1-2");
    assert_string_equal(head.answer.put_id, "0123456789abcdef0123456789abcdef");
    assert_int_equal(head.answer.modified_ns, UINT64_C(784111777) * 1000000000);
    assert_int_equal(head.answer.date_ns, UINT64_C(1709251199) * 1000000000);
    assert_true(head.has_length && head.has_range);
    assert_int_equal(head.answer.content_length, 10);
    assert_int_equal(head.range_first, 5);
    assert_int_equal(head.total, 100);
    assert_int_equal(head.retry_after_s, 7);
    assert_string_equal(head.bucket_region, "eu-west-1");
    /* An answer that follows another one starts from nothing. */
    line(&head, "HTTP/1.1 404 Not Found\r\n");
    assert_int_equal(head.answer.http, 404);
    assert_string_equal(head.answer.etag, "");
    assert_false(head.has_length || head.has_range || head.is_whole);
}

static void test_headers_that_say_nothing(void **state)
{
    (void)state;
    grv_s3_head head = {0};
    static const char *const lines[] = {
        "",
        ":",
        "content-length",
        "content-length: ",
        "content-length: -1",
        "content-length: 0x10",
        "content-length: 18446744073709551616",
        "content-range: bytes */100",
        "content-range: bytes 0-9/*",
        "content-range: bytes 0-9",
        "content-range: pages 0-9/10",
        "content-range: -/",
        "date: yesterday",
        "date: Sun, 06 Nov 1994 08:49:37 CET",
        "date: Sun, 32 Nov 1994 08:49:37 GMT",
        "date: Sun, 06 Nuv 1994 08:49:37 GMT",
        "date: Sun, 06 Nov 1994 24:49:37 GMT",
        "date: Sun, 06 Nov 9999 08:49:37 GMT",
        "last-modified: 0",
        "retry-after: soon",
        "x-amz-meta-graviton-put: short",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        line(&head, lines[i]);
    }
    static const grv_s3_head nothing;
    assert_memory_equal(&head, &nothing, sizeof head);
    line(&head, "HTTP/1.1");
    line(&head, "HTTP/1.1 ");
    line(&head, "HTTP/1.1 2x0 OK");
    assert_int_equal(head.answer.http, 0);
    /* What is too long is cut, and what cannot be printed is not kept. */
    char longest[400];
    int used = snprintf(longest, sizeof longest, "etag: \x01\xff");
    memset(longest + used, 'e', 200);
    longest[used + 200] = '\0';
    line(&head, longest);
    assert_int_equal(strlen(head.answer.etag), GRV_S3_ETAG_MAX);
    assert_memory_equal(head.answer.etag, "??ee", 4);
}

static void test_times(void **state)
{
    (void)state;
    uint64_t seconds = 5;
    assert_true(grv_s3_time_parse_iso("1994-11-06T08:49:37.000Z", &seconds));
    assert_int_equal(seconds, 784111777);
    assert_true(grv_s3_time_parse_iso("1994-11-06T08:49:37Z", &seconds));
    assert_true(grv_s3_time_parse_iso("1970-01-01T00:00:00.123456789Z", &seconds));
    assert_int_equal(seconds, 0);
    static const char *const bad[] = {
        "",
        "1994-11-06",
        "1994-11-06T08:49:37",
        "1994-11-06T08:49:37.5",
        "1994-11-06T08:49:37+01:00",
        "1969-12-31T23:59:59Z",
        "1994-13-06T08:49:37Z",
        "1994-11-00T08:49:37Z",
        "1994-11-06 08:49:37Z",
        "11994-11-06T08:49:37Z",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (grv_s3_time_parse_iso(bad[i], &seconds)) {
            fail_msg("%s is taken for a time", bad[i]);
        }
    }
    assert_int_equal(seconds, 0);
}

static void test_refusal(void **state)
{
    (void)state;
    grv_s3_answer answer = {0};
    char message[32];
    assert_true(grv_s3_refusal_parse(
        text_of("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>"
                "<Message>The key &lt;x&gt;\ndoes not exist, nor ever did</Message>"
                "<Key>k</Key><RequestId>r1</RequestId><HostId>h</HostId></Error>"),
        &answer, message, sizeof message));
    assert_string_equal(answer.code, "NoSuchKey");
    assert_string_equal(message, "The key <x>?does not exist, nor");
    assert_string_equal(answer.request_id, "r1");
    answer = (grv_s3_answer){0};
    assert_false(
        grv_s3_refusal_parse(text_of("<CopyObjectResult><Code>x</Code></CopyObjectResult>"),
                             &answer, message, sizeof message));
    assert_false(grv_s3_refusal_parse(text_of("<html>"), &answer, message, sizeof message));
    assert_false(grv_s3_refusal_parse(text_of(""), &answer, message, sizeof message));
    assert_string_equal(answer.code, "");
}

static void test_text(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    char text[8] = "before";
    const char *root = "InitiateMultipartUploadResult";
    grv_bytes good =
        text_of("  \n<InitiateMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/"
                "\"><Bucket>b</Bucket><UploadId>a&amp;&#98;<![CDATA[<c]]></UploadId>"
                "</InitiateMultipartUploadResult>");
    assert_grv_status(grv_s3_xml_text(good, "Other", "UploadId", text, sizeof text, &error),
                      GRV_NOT_FOUND);
    assert_grv_status(grv_s3_xml_text(good, root, "Other", text, sizeof text, &error),
                      GRV_NOT_FOUND);
    assert_grv_status(grv_s3_xml_text(good, root, "UploadId", text, 5, &error), GRV_CORRUPT);
    assert_string_equal(text, "before");
    assert_grv_ok(grv_s3_xml_text(good, root, "UploadId", text, 6, &error));
    assert_string_equal(text, "a&b<c");
    /* What no XML holds, and services write all the same: the element has no text then. */
    static const char *const spoilt[] = {"<a><b>x&#x01;y</b></a>",     "<a><b>x\x01y</b></a>",
                                         "<a><b>&#1;</b></a>",         "<a><b>\xff</b></a>",
                                         "<a><b>\xef\xbf\xbf</b></a>", "<a>&#1;<b></b></a>"};
    for (size_t i = 0; i < sizeof spoilt / sizeof spoilt[0]; i++) {
        assert_grv_ok(grv_s3_xml_text(text_of(spoilt[i]), "a", "b", text, sizeof text, &error));
        assert_string_equal(text, "");
    }
    assert_grv_ok(grv_s3_xml_text(text_of("<a><c>&#1;</c><b>z</b></a>"), "a", "b", text,
                                  sizeof text, &error));
    assert_string_equal(text, "z");
}

/* What is no XML, and XML that would have more done than read. */
static void test_hostile_xml(void **state)
{
    (void)state;
    static const char *const documents[] = {
        "",
        " ",
        "text",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a><b>x</b></a",
        "<a>&undefined;</a>",
        "<a><b>&lt</b></a>",
        "\x01<a/>",
        "&#1;<a/>",
        "<a\x01/>",
        "<!DOCTYPE a><a><b>x</b></a>",
        "<!DOCTYPE a [<!ENTITY e \"x\">]><a><b>&e;</b></a>",
        "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a><b>x</b></a>",
        "<!DOCTYPE a [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><a><b>&e;</b></a>",
        "<!DOCTYPE a [<!ENTITY f \"xx\"><!ENTITY e \"&f;&f;\">]><a><b>&e;</b></a>",
    };
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        char text[8];
        grv_status status =
            grv_s3_xml_text(text_of(documents[i]), "a", "b", text, sizeof text, &error);
        if (status != GRV_CORRUPT) {
            fail_msg("%s: %s", documents[i], grv_status_name(status));
        }
    }
}

static void test_limits_of_xml(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    static char text[GRV_S3_XML_TEXT_MAX + 1];
    static char document[GRV_S3_XML_TEXT_MAX + 64];
    /* Depth. */
    size_t used = 0;
    for (unsigned i = 0; i < GRV_S3_XML_DEPTH_MAX; i++) {
        used += (size_t)snprintf(document + used, sizeof document - used, "<a>");
    }
    for (unsigned i = 0; i < GRV_S3_XML_DEPTH_MAX; i++) {
        used += (size_t)snprintf(document + used, sizeof document - used, "</a>");
    }
    assert_grv_ok(grv_s3_xml_text(text_of(document), "a", "a", text, sizeof text, &error));
    char deeper[sizeof document];
    snprintf(deeper, sizeof deeper, "<a>%.*s</a>", (int)used, document);
    assert_grv_status(grv_s3_xml_text(text_of(deeper), "a", "a", text, sizeof text, &error),
                      GRV_CORRUPT);
    /* Text of one element. */
    for (size_t more = 0; more < 2; more++) {
        size_t length = GRV_S3_XML_TEXT_MAX - 1 + more;
        used = (size_t)snprintf(document, sizeof document, "<a><b>");
        memset(document + used, 'x', length);
        snprintf(document + used + length, sizeof document - used - length, "</b></a>");
        grv_status expected = more ? GRV_CORRUPT : GRV_OK;
        assert_grv_status(grv_s3_xml_text(text_of(document), "a", "b", text, sizeof text, &error),
                          expected);
    }
    /* The whole. */
    size_t size = GRV_S3_XML_MAX + 1;
    char *large = malloc(size);
    assert_non_null(large);
    memset(large, ' ', size);
    memcpy(large, "<a>", 3);
    memcpy(large + size - 4, "</a>", 4);
    assert_grv_status(grv_s3_xml_text(grv_bytes_of(large, size), "a", "b", text, 2, &error),
                      GRV_CORRUPT);
    free(large);
}

#define LIST(inside) "<ListBucketResult>" inside "</ListBucketResult>"
#define ENTRY(key, size)                                                                           \
    "<Contents><Key>" key "</Key><LastModified>2024-02-29T23:59:59.250Z</LastModified>"            \
    "<ETag>&quot;e" key "&quot;</ETag><Size>" size "</Size><Owner><ID>o</ID></Owner></Contents>"
#define NO_MORE "<IsTruncated>false</IsTruncated>"

static void test_page(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_s3_page page;
    grv_bytes xml =
        text_of(LIST("<Name>b</Name><IsTruncated>true</IsTruncated>" ENTRY("a%2Bb+c", "7") ENTRY(
            "d", "9223372036854775807") "<EncodingType>url</EncodingType>"
                                        "<NextContinuationToken>t&amp;1</NextContinuationToken>"));
    assert_grv_ok(grv_s3_page_parse(xml, &page, &error));
    assert_int_equal(page.count, 2);
    assert_true(page.truncated);
    assert_string_equal(page.token, "t&1");
    assert_string_equal(page.entries[0].key, "a+b c");
    assert_string_equal(page.entries[0].etag, "ea%2Bb+c");
    assert_int_equal(page.entries[0].size, 7);
    assert_int_equal(page.entries[0].modified_ns, UINT64_C(1709251199) * 1000000000);
    assert_string_equal(page.entries[1].key, "d");
    assert_int_equal(page.entries[1].size, INT64_MAX);
    grv_s3_page_done(&page);
    /* Without a word of encoding, keys are what they look like. */
    assert_grv_ok(grv_s3_page_parse(text_of(LIST(NO_MORE ENTRY("a%2Bb+c", "7"))), &page, &error));
    assert_string_equal(page.entries[0].key, "a%2Bb+c");
    assert_false(page.truncated);
    assert_null(page.token);
    grv_s3_page_done(&page);
    assert_grv_ok(grv_s3_page_parse(text_of(LIST(NO_MORE)), &page, &error));
    assert_int_equal(page.count, 0);
    grv_s3_page_done(&page);
}

static void test_pages_that_are_none(void **state)
{
    (void)state;
    static const char *const documents[] = {
        "",
        "<Error/>",
        "<Other>" NO_MORE "</Other>",
        LIST(""),
        LIST("<IsTruncated>perhaps</IsTruncated>"),
        LIST(NO_MORE ENTRY("a", "")),
        LIST(NO_MORE ENTRY("a", "-1")),
        LIST(NO_MORE ENTRY("a", "9223372036854775808")),
        LIST(NO_MORE ENTRY("", "1")),
        LIST(NO_MORE ENTRY("a&#x01;b", "1")),
        LIST(NO_MORE "<EncodingType>url</EncodingType>" ENTRY("%", "1")),
        LIST(NO_MORE "<EncodingType>url</EncodingType>" ENTRY("%00", "1")),
        LIST(NO_MORE "<Contents><Size>1</Size></Contents>"),
        LIST(NO_MORE "<Contents><Key>k</Key></Contents>"),
        LIST(NO_MORE "<Contents><Key>k</Key><Size>1</Size><LastModified>x</LastModified>"
                     "</Contents>"),
        "<ListBucketResult>" NO_MORE ENTRY("a", "1"),
    };
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        grv_s3_page page;
        grv_status status = grv_s3_page_parse(text_of(documents[i]), &page, &error);
        if (status != GRV_CORRUPT) {
            fail_msg("%s: %s", documents[i], grv_status_name(status));
        }
    }
}

static void test_longest_page(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    for (unsigned more = 0; more < 2; more++) {
        grv_buffer xml;
        grv_buffer_init(&xml, GRV_S3_XML_MAX);
        assert_grv_ok(grv_buffer_append(&xml, text_of("<ListBucketResult>" NO_MORE), &error));
        for (unsigned i = 0; i < GRV_S3_PAGE_MAX + more; i++) {
            char entry[128];
            snprintf(entry, sizeof entry, "<Contents><Key>k%05u</Key><Size>%u</Size></Contents>", i,
                     i);
            assert_grv_ok(grv_buffer_append(&xml, text_of(entry), &error));
        }
        assert_grv_ok(grv_buffer_append(&xml, text_of("</ListBucketResult>"), &error));
        grv_s3_page page;
        grv_status status = grv_s3_page_parse(grv_buffer_bytes(&xml), &page, &error);
        assert_grv_status(status, more ? GRV_CORRUPT : GRV_OK);
        if (!status) {
            assert_int_equal(page.count, GRV_S3_PAGE_MAX);
            assert_string_equal(page.entries[999].key, "k00999");
            assert_int_equal(page.entries[999].size, 999);
            grv_s3_page_done(&page);
        }
        grv_buffer_done(&xml);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_headers_that_say_nothing),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_refusal),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_hostile_xml),
        cmocka_unit_test(test_limits_of_xml),
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_pages_that_are_none),
        cmocka_unit_test(test_longest_page),
    };
    return cmocka_run_group_tests_name("s3 answer", tests, NULL, NULL);
}
