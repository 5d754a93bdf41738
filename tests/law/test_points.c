/* The CSV reader: what RFC 4180 allows, and everything it must refuse by file, line and column. */
#include "law_test.h"

static bool parse(pare_law_points *points, const char *csv) {
    return pare_law_points_parse(points, csv, strlen(csv), "x.csv", arena, &error);
}

static void plain(void **state) {
    (void)state;
    pare_law_points points;
    assert_done(parse(&points, "model,method,l0,r,d,l\nq,random,3.5,0.1,0,4\nq,random,3.5,0.2,5,3.9\n"), error);
    assert_int_equal(points.n, 2);
    assert_string_equal(points.items[1].model, "q");
    assert_string_equal(points.items[1].method, "random");
    assert_true(points.items[1].l0 == 3.5 && points.items[1].ratio[PARE_LAW_RATIO_NOMINAL] == 0.2 && points.items[1].d == 5 &&
                points.items[1].l == 3.9);
    assert_true(isnan(points.items[0].ratio[PARE_LAW_RATIO_BYTES]) && isnan(points.items[0].ceiling));
}

static void quotes_and_line_ends(void **state) {
    (void)state;
    pare_law_points points;
    const char *csv = "\xEF\xBB\xBF\"l\",extra,method,\"model\",r,l0,bytes,ceiling\r\n"
                      "4,\"a, \"\"b\"\"\r\nc\",\"wanda, sp\",\"say \"\"x\"\"\", 0.25 ,3,0.2,10.8\r\n"
                      "\r\n"
                      ",,,,,,,\n"
                      "nan,\"\",m,\"\",1e-1,0x1p1,,\r";
    assert_done(parse(&points, csv), error);
    assert_int_equal(points.n, 3);
    assert_string_equal(points.items[0].model, "say \"x\"");
    assert_string_equal(points.items[0].method, "wanda, sp");
    assert_true(points.items[0].ratio[PARE_LAW_RATIO_NOMINAL] == 0.25 && points.items[0].ratio[PARE_LAW_RATIO_BYTES] == 0.2);
    assert_true(points.items[0].ceiling == 10.8 && points.items[0].d == 0);
    assert_true(isnan(points.items[1].l) && points.items[1].model[0] == 0);
    assert_true(isnan(points.items[2].l) && points.items[2].l0 == 2 && points.items[2].ratio[0] == 0.1);
}

/* What spreadsheets and other systems write: each gives the same two points. */
static void other_spellings(void **state) {
    (void)state;
    static const char *const cases[] = {
        "model,method,l0,r,l\nq,m,3,0.1,3.2\nq,m,3,0.2,3.5\n",
        "model,method,l0,r,l\r\nq,m,3,0.1,3.2\r\nq,m,3,0.2,3.5\r\n",
        "model,method,l0,r,l\rq,m,3,0.1,3.2\rq,m,3,0.2,3.5",
        "\xEF\xBB\xBFmodel;method;l0;r;l\r\nq;m;3;0.1;3.2\r\nq;m;3;0.2;3.5\r\n",
        "model\tmethod\tl0\tr\tl\nq\tm\t3\t0.1\t3.2\nq\tm\t3\t0.2\t3.5\n",
        "model, method, l0, r, l\nq, m, 3, 0.1, 3.2\nq , m , 3, 0.2, 3.5\n",
        "\"model\",\"method\",\"l0\",\"r\",\"l\"\n\"q\",\"m\",\"3\",\"0.1\",\"3.2\"\n\"q\",\"m\",\"3\",\"0.2\",\"3.5\"\n",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pare_law_points points;
        assert_done(parse(&points, cases[i]), error);
        assert_int_equal(points.n, 2);
        for (size_t k = 0; k < 2; k++) {
            const pare_law_point *point = &points.items[k];
            assert_string_equal(point->model, "q");
            assert_string_equal(point->method, "m");
            assert_true(point->l0 == 3 && point->ratio[0] == (k ? 0.2 : 0.1) && point->l == (k ? 3.5 : 3.2));
            assert_true(point->line == k + 2 || i == 2);
        }
    }
}

/* Numbers that are no results: the fit goes on without them, and says how many, why, and where the first stands. */
static void bad_numbers_are_told_by_line(void **state) {
    (void)state;
    static const char csv[] =
        "model,method,l0,r,l\nq,m,3,0.1,3.2\nq,m,3,20,3.5\nq,m,3,0.3,-3.9\nq,m,0,0.4,4.4\nq,m,3,0.5,inf\nq,m,3,0.6,nan\n"
        "q,m,3,0.7,7\nq,m,3,0.7,7\nq,m,3,0.35,1.5\nq,m,3,0.45,4.1\n";
    static const struct {
        pare_law_use use;
        size_t n, line;
    } wanted[] = {{PARE_LAW_BAD_R, 1, 3}, {PARE_LAW_BAD_L, 3, 4}, {PARE_LAW_BAD_L0, 1, 5}, {PARE_LAW_COPY, 1, 9}};
    pare_law_points points;
    pare_law_fit fit;
    assert_done(parse(&points, csv), error);
    assert_done(pare_law_fit_points(&fit, PARE_LAW_V2, &points, NULL, NULL, arena, &error), error);
    assert_int_equal(fit.law.n, 4);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        assert_true(fit.excluded[wanted[i].use] == wanted[i].n && fit.first_line[wanted[i].use] == wanted[i].line);
    bool told = false;
    for (size_t i = 0; i < fit.n_notes; i++)
        told = told || strstr(fit.notes[i], "1 result lies more than 10 % below l0 (first: line 10)");
    assert_true(told);
}

/* Nothing usable: the message says why. */
static void nothing_usable_says_why(void **state) {
    (void)state;
    static const struct {
        const char *csv, *part;
    } cases[] = {
        {"model,method,l0,r,l\nq,m,3,10,3.2\nq,m,3,20,3.5\nq,m,3,30,3.9\n",
         "0 of 3 points usable; left out: 3 r is outside [0, 1) (first: line 2)). Ratios are fractions: 10 % is 0.1"},
        {"model,method,l0,r,l\nq,m,0,0.1,3.2\nq,m,0,0.2,3.5\n", "2 l0 is missing, not finite or not above 0 (first: line 2)"},
        {"model,method,l0,r,l\nq,m,3,0.1,\nq,m,3,0.2,\n", "2 l is missing"},
        {"model,method,l0,r,l,ceiling\nq,m,3,0.1,9,7\nq,m,3,0.2,6,7\n", "1 above the loss of a uniform guess, 1 at a ratio from which on"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pare_law_points points;
        pare_law_fit fit;
        assert_done(parse(&points, cases[i].csv), error);
        assert_fails(pare_law_fit_points(&fit, PARE_LAW_V2, &points, NULL, NULL, arena, &error), error, PARE_ERROR_NUMERIC, cases[i].part);
    }
}

static void hostile(void **state) {
    (void)state;
    static const struct {
        const char *csv, *part;
    } cases[] = {
        {"", "x.csv: line 1: no header"},
        {"\n\n", "no header"},
        {"model,method,l0,r\na,b,1,2\n", "x.csv: line 1: the header has no column \"l\""},
        {"Model,method,l0,r,l\n", "no column \"model\" but \"Model\": names are in lower case"},
        {"model,method,l0,r,l\na,b,3,0.1,4\nmodel,method,l0,r,l\n",
         "x.csv: line 3, column 3 (l0): \"l0\" is not a number: the header stands"},
        {"\xFF\xFEm\n", "the header has no column"},
        {"model;method;l0;r;l\na;b;3,2;0,1;4\n", "x.csv: line 2, column 3 (l0): \"3,2\" is not a number: decimals take a point"},
        {"model,method,l0,r,l\na,b,3,10%,4\n", "x.csv: line 2, column 4 (r): \"10%\" is not a number: a ratio is a fraction"},
        {"model,method,l0,r,l,r\n", "x.csv: line 1, column 6: a second column called \"r\""},
        {"model,method,l0,r,l\n", "a header and no row"},
        {"model,method,l0,r,l\na,b,1,2\n", "x.csv: line 2 has 4 columns, the header has 5"},
        {"model,method,l0,r,l\na,b,1,0.2,3\na,b,1,0.2,3,4\n", "x.csv: line 3 has 6 columns"},
        {"model,method,l0,r,l\na,b,1,0.2,3\na,b,one,0.2,3\n", "x.csv: line 3, column 3 (l0): \"one\" is not a number"},
        {"model,method,l0,r,l\na,b,1,0.2,3.5.1\n", "x.csv: line 2, column 5 (l): \"3.5.1\" is not a number"},
        {"model,method,l0,r,l\na,b,1,0.2,3;4\n", "\"3;4\" is not a number"},
        {"model,method,l0,r,l\n\"a,b,1,0.2,3\n\n", "x.csv: line 2, column 1: a quoted field is not closed"},
        {"model,method,l0,r,l\na,\"b\"c,1,0.2,3\n", "x.csv: line 2, column 2: text follows a closing quote"},
        {"model,method,l0,r,l\na,b\"c,1,0.2,3\n", "x.csv: line 2, column 2: a quote inside"},
        {"model,method,l0,r,l\na\xFF,b,1,0.2,3\n", "x.csv: line 2, column 1: a name that is not UTF-8"},
        {"model,method,l0,r,l\na,\xED\xA0\x80,1,0.2,3\n", "column 2: a name that is not UTF-8"},
        {"model,method,l0,r,l\n\"a\nb\",m,1,0.2,x\n", "x.csv: line 2, column 5"},
        {"model,method,l0,r,l\n\"a\nb\",m,1,0.2,1\na,b,1,0.2,x\n", "x.csv: line 4, column 5"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pare_law_points points;
        assert_fails(parse(&points, cases[i].csv), error, PARE_ERROR_FORMAT, cases[i].part);
    }
}

static void limits(void **state) {
    (void)state;
    pare_law_points points;
    pare_string csv = {0};
    for (size_t i = 0; i < 2000; i++)
        pare_string_print(&csv, "c%zu,", i);
    assert_fails(parse(&points, csv.data), error, PARE_ERROR_FORMAT, "more than 1024 columns");
    csv.length = 0;
    pare_string_print(&csv, "model,method,l0,r,l\n");
    for (size_t i = 0; i < 70000; i++)
        pare_string_push(&csv, "x", 1);
    assert_fails(parse(&points, csv.data), error, PARE_ERROR_FORMAT, "line 2, column 1: a field of more than");
    csv.length = 0;
    pare_string_print(&csv, "model,method,l0,r,l\n");
    for (size_t i = 0; i <= 1000000; i++)
        pare_string_push(&csv, "a,b,1,0,1\n", 10);
    assert_fails(parse(&points, csv.data), error, PARE_ERROR_RANGE, "line 1000002: more than 1000000 rows");
    pare_string_free(&csv);
    assert_fails(pare_law_points_parse(&points, "a\0b", 3, "x.csv", arena, &error), error, PARE_ERROR_FORMAT, "byte 1 is 0");
    assert_fails(pare_law_points_parse(&points, "\xFF\xFEm\0o\0", 6, "x.csv", arena, &error), error, PARE_ERROR_FORMAT,
                 "UTF-16: save it as UTF-8");
    assert_fails(pare_law_points_read(&points, "/nowhere/x.csv", arena, &error), error, PARE_ERROR_IO, "/nowhere/x.csv");
}

/* Every prefix of a file, and every single byte changed, is read or refused, never worse. */
static void truncated_and_flipped(void **state) {
    (void)state;
    static const char csv[] = "model,method,l0,r,d,l\r\n\"a \"\"b\"\"\",m,3,0.1,,4\nc,\"d\ne\",3,0.2,1,5\r\n";
    char copy[sizeof csv];
    pare_law_points points;
    size_t n_read = 0;
    for (size_t n = 0; n < sizeof csv; n++)
        n_read += pare_law_points_parse(&points, csv, n, "x.csv", arena, &error);
    for (size_t i = 0; i + 1 < sizeof csv; i++)
        for (unsigned byte = 1; byte < 256; byte += 3) {
            memcpy(copy, csv, sizeof csv);
            copy[i] = (char)byte;
            n_read += parse(&points, copy);
        }
    assert_true(n_read > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(plain),
                                       cmocka_unit_test(quotes_and_line_ends),
                                       cmocka_unit_test(other_spellings),
                                       cmocka_unit_test(bad_numbers_are_told_by_line),
                                       cmocka_unit_test(nothing_usable_says_why),
                                       cmocka_unit_test(hostile),
                                       cmocka_unit_test(limits),
                                       cmocka_unit_test(truncated_and_flipped)};
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
