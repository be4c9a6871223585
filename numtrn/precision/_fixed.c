/* The host's part of float64 products, for a block of rows: largest magnitudes, digits, magnitudes in bf16, and the
 * one rounding at the end.
 *
 * C and not numba: nothing is compiled while a program runs, no dependency of LLVM's size comes in, and every rounding
 * stands here in plain sight. Build without -ffast-math and with -ffp-contract=off. What each function promises, the
 * checks of its arguments and the split over threads are in fixed.py, which also holds the same arithmetic in NumPy,
 * to the same bits: a change here is a change there.
 *
 * Limited API, no NumPy headers. Arrays come as addresses and strides in bytes; fixed.py holds the
 * arrays while a function runs. The GIL is released. Loops are written for the compiler's vectoriser: no branches, and
 * no conversions that would be undefined out of range. Rounding to nearest even, the default mode, is relied on.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

typedef Py_ssize_t step; /* extents, and strides in bytes */

/* One compilation for each level of x86-64 that matters, chosen by the loader. Elsewhere the baseline has what is
 * needed. The bits are the same: no operation here depends on the width of a vector. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12             \
    && !defined(__SANITIZE_ADDRESS__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif
#if defined(__GNUC__)
#define PREFETCH(x, away) __builtin_prefetch((const char *)((uintptr_t)(x) + (uintptr_t)(away)))
#else
#define PREFETCH(x, away) ((void)0)
#endif
#define LEAST(a, b) ((a) < (b) ? (a) : (b))
#define MOST(a, b) ((a) > (b) ? (a) : (b))

/* ---- Numbers. ------------------------------------------------------------------------------------------ */

INLINE int64_t bits_of(double x)
{
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

INLINE double number_of(int64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* 2^power, power -1022 .. 1023. */
INLINE double power_of_two(int64_t power) { return number_of((int64_t)((uint64_t)(1023 + power) << 52)); }

/* x + SHIFTER - SHIFTER is x rounded to an integer, |x| < 2^51; the sum's bits less those of SHIFTER are the integer. */
#define SHIFTER 0x1.8p52
INLINE uint64_t shifted_integer(double sum) { return (uint64_t)bits_of(sum) - UINT64_C(0x4338000000000000); }

/* rint(t), |t| <= 2^63, modulo 2^64. The upper part, a multiple of 2^32, is even, so that ties stay ties to even; what is
 * left is exact, because it is a multiple of t's last place and no larger than 2^31. */
INLINE uint64_t to_integer(double t)
{
    double upper = t * 0x1p-32 + SHIFTER;
    double lower = (t - (upper - SHIFTER) * 0x1p32) + SHIFTER;
    return (shifted_integer(upper) << 32) + shifted_integer(lower);
}

/* 0x80 in each of the lowest `count` bytes, 0 .. 8. */
INLINE uint64_t offset(int count)
{
    return count ? UINT64_C(0x8080808080808080) >> (64 - 8 * count) : 0;
}

/* x 2^power as two factors of like size: what is multiplied first neither overflows nor loses a bit unless the result
 * does. Powers beyond 2044 in size are cut off: what they are applied to is 0, or far below all that is kept of it. */
#define POWER_MOST 2044

INLINE double first_factor(int32_t power) { return power_of_two(power >> 1); }
INLINE double second_factor(int32_t power) { return power_of_two(power - (power >> 1)); }
INLINE int32_t cut_off(int32_t power) { return MOST(-POWER_MOST, LEAST(POWER_MOST, power)); }

/* ---- Largest magnitudes. ------------------------------------------------------------------------------- */

/* Bits of non-negative numbers are ordered as the numbers are, Inf and NaN above all others. */
#define MAGNITUDE INT64_C(0x7fffffffffffffff)

#define BAND 1024 /* columns whose maxima stay in the first cache */

CLONES static void rows_largest(const char *x, step row, step column, step rows, step columns, int64_t *out)
{
    for (step r = 0; r < rows; r++, x += row) {
        int64_t most = 0;
        if (column == 8) {
            const double *from = (const double *)x;
            for (step c = 0; c < columns; c++) {
                int64_t size = bits_of(from[c]) & MAGNITUDE;
                most = MOST(most, size);
            }
        } else {
            for (step c = 0; c < columns; c++) {
                int64_t size = bits_of(*(const double *)(x + c * column)) & MAGNITUDE;
                most = MOST(most, size);
            }
        }
        out[r] = most;
    }
}

CLONES static void columns_largest(const char *x, step row, step column, step rows, step columns, int64_t *out)
{
    memset(out, 0, (size_t)columns * sizeof *out);
    for (step start = 0; start < columns; start += BAND) {
        step count = LEAST(BAND, columns - start);
        const char *from = x + start * column;
        int64_t *most = out + start;
        for (step r = 0; r < rows; r++, from += row) {
            if (column == 8) {
                for (step c = 0; c < count; c++) {
                    int64_t size = bits_of(((const double *)from)[c]) & MAGNITUDE;
                    most[c] = MOST(most[c], size);
                }
            } else {
                for (step c = 0; c < count; c++) {
                    int64_t size = bits_of(*(const double *)(from + c * column)) & MAGNITUDE;
                    most[c] = MOST(most[c], size);
                }
            }
        }
    }
}

/* ---- Rows of scaled elements, into words or magnitudes. ------------------------------------------------- */

/* Elements that lie across the way they are written go through tiles: a cache line in, whole lines out. */
#define TILE_ROWS 8
#define TILE_COLUMNS 32 /* half of it for words */

#define RUN 64    /* elements of a row converted at a time, */
#define AHEAD 512 /* and how many before it they are asked of memory: a small page */

struct source {
    const char *x;
    step row, column; /* strides */
    step rows, columns;
    const int32_t *row_power, *column_power; /* NULL: zeros */
};

/* (X + offset) ^ offset for X = rint(t): its low 8 bytes, or 16. */
INLINE void one_word(double t, uint64_t *out, uint64_t low) { *out = (to_integer(t) + low) ^ low; }

INLINE void two_words(double t, uint64_t *out, uint64_t high)
{
    const uint64_t low = UINT64_C(0x8080808080808080);
    /* t = upper 2^64 + rest, |rest| <= 2^63, exactly: as in to_integer. */
    double scaled = t * 0x1p-64;
    double first = scaled * 0x1p-32 + SHIFTER;
    double second = (scaled - (first - SHIFTER) * 0x1p32) + SHIFTER;
    double rest = t - ((first - SHIFTER) * 0x1p32 + (second - SHIFTER)) * 0x1p64;
    uint64_t upper = (shifted_integer(first) << 32) + shifted_integer(second);
    uint64_t lower = to_integer(rest);
    upper -= (uint64_t)((rest < 0) & (lower != 0)); /* the sign of `lower`, which may be 2^63 */
    uint64_t sum = lower + low;
    upper += high + (uint64_t)(sum < low);
    out[0] = sum ^ low;
    out[1] = upper ^ high;
}

/* bf16 pattern of |t|, truncated; 0 below 2^-100. */
INLINE uint16_t truncated(double t)
{
    int64_t size = bits_of(t) & MAGNITUDE;
    int64_t pattern = (size >> 45) - ((1023 - 127) << 7);
    return (uint16_t)(size >= bits_of(0x1p-100) ? pattern : 0);
}


/* Sets t to each element, scaled, of those at x, in turn. */
#define ALONG(count, power, column_power, STORE)                                                                        \
    if (column_power) {                                                                                                 \
        for (step c = 0; c < count; c++) {                                                                              \
            int32_t both = cut_off(power + column_power[c]);                                                            \
            double t = x[c] * first_factor(both) * second_factor(both);                                                 \
            STORE;                                                                                                      \
        }                                                                                                               \
    } else {                                                                                                            \
        int32_t own = cut_off(power);                                                                                   \
        double first = first_factor(own), second = second_factor(own);                                                  \
        for (step c = 0; c < count; c++) {                                                                              \
            double t = x[c] * first * second;                                                                           \
            STORE;                                                                                                      \
        }                                                                                                               \
    }

/* Elements that lie together, to results that do. `slices` 0 means magnitudes. */
INLINE void convert_run(const double *restrict x, step count, int32_t power, const int32_t *column_power, int slices,
                        char *to)
{
    if (slices == 0) {
        uint16_t *restrict out = (uint16_t *)to;
        ALONG(count, power, column_power, out[c] = truncated(t))
    } else if (slices <= 8) {
        uint64_t *restrict out = (uint64_t *)to;
        uint64_t low = offset(slices);
        power += 8 * slices - 1;
        ALONG(count, power, column_power, one_word(t, out + c, low))
    } else {
        uint64_t *restrict out = (uint64_t *)to;
        uint64_t high = offset(slices - 8);
        power += 8 * slices - 1;
        ALONG(count, power, column_power, two_words(t, out + 2 * c, high))
    }
}

/* Where results are too many for the caches, whole lines of them go past the caches, which saves reading the lines
 * first. That is all that intrinsics are used for; SSE2 belongs to every x86-64. */
#if defined(__SSE2__)
#define STREAMS 1
INLINE void stream(char *to, const char *from, step bytes)
{
    for (step i = 0; i < bytes; i += 16)
        _mm_stream_si128((__m128i *)(void *)(to + i), *(const __m128i *)(const void *)(from + i));
}
INLINE void end_streams(void) { _mm_sfence(); }
#else
#define STREAMS 0
INLINE void stream(char *to, const char *from, step bytes) { memcpy(to, from, (size_t)bytes); }
INLINE void end_streams(void) { }
#endif

INLINE step to_line(const char *to) { return (step)(-(uintptr_t)to & 63); }

/* A run that is streamed if it fills lines. */
INLINE void write_run(const double *x, step count, int32_t power, const int32_t *column_power, int slices, step item,
                      char *to, int streams)
{
    if (streams && to_line(to) == 0 && count * item % 64 == 0) {
        _Alignas(64) uint64_t lines[RUN * 2];
        convert_run(x, count, power, column_power, slices, (char *)lines);
        stream(to, (const char *)lines, count * item);
    } else {
        convert_run(x, count, power, column_power, slices, to);
    }
}

INLINE void write_row(const double *x, step count, int32_t power, const int32_t *column_power, int slices, step item,
                      char *to, int streams)
{
    step c = 0, width = streams ? LEAST(count, to_line(to) / item) : 0;
    if (width)
        write_run(x, width, power, column_power, slices, item, to, 0);
    for (c = width; c + RUN <= count; c += RUN) {
        for (step line = 0; line < RUN; line += 8)
            PREFETCH(x, (c + AHEAD + line) * 8);
        write_run(x + c, RUN, power, column_power ? column_power + c : NULL, slices, item, to + c * item, streams);
    }
    if (c < count)
        write_run(x + c, count - c, power, column_power ? column_power + c : NULL, slices, item, to + c * item, 0);
}

INLINE void write_tile(const struct source *s, step r0, step c0, step high, step wide, int slices, step item, char *out,
                       step out_row, int streams)
{
    double tile[TILE_ROWS][TILE_COLUMNS];
    const char *x = s->x + r0 * s->row + c0 * s->column;
    for (step c = 0; c < wide; c++) {
        const char *from = x + c * s->column;
        PREFETCH(from, 2 * TILE_ROWS * s->row);
        if (s->row == 8)
            for (step r = 0; r < high; r++)
                tile[r][c] = ((const double *)from)[r];
        else
            for (step r = 0; r < high; r++)
                tile[r][c] = *(const double *)(from + r * s->row);
    }
    for (step r = 0; r < high; r++)
        write_run(tile[r], wide, s->row_power ? s->row_power[r0 + r] : 0, s->column_power ? s->column_power + c0 : NULL,
                  slices, item, out + (r0 + r) * out_row + c0 * item, streams);
}

INLINE void write_block(const struct source *s, int slices, step item, char *out, step out_row, int streams)
{
    if (s->column == 8) {
        for (step r = 0; r < s->rows; r++)
            write_row((const double *)(s->x + r * s->row), s->columns, s->row_power ? s->row_power[r] : 0,
                      s->column_power, slices, item, out + r * out_row, streams);
    } else {
        step wide, full = slices ? TILE_COLUMNS / 2 : TILE_COLUMNS;
        for (step c0 = 0; c0 < s->columns; c0 += wide) {
            step lead = streams ? to_line(out + c0 * item) / item : 0; /* columns up to the next line */
            wide = LEAST(lead ? lead : full, s->columns - c0);
            step r0 = 0;
            if (wide == full)
                for (; r0 + TILE_ROWS <= s->rows; r0 += TILE_ROWS)
                    write_tile(s, r0, c0, TILE_ROWS, full, slices, item, out, out_row, streams);
            for (; r0 < s->rows; r0 += TILE_ROWS)
                write_tile(s, r0, c0, LEAST(TILE_ROWS, s->rows - r0), wide, slices, item, out, out_row, streams);
        }
    }
    if (streams)
        end_streams();
}

CLONES static void write_magnitudes(const struct source *s, char *out, step out_row, int streams)
{
    write_block(s, 0, 2, out, out_row, streams);
}

/* Largest magnitudes of rows and, scaled by them, magnitudes in bf16, of a source whose rows lie together and which has
 * no powers of its own. The second look at an element finds it in a cache; across rows that does not work, because
 * what lies between the two looks has to be read in short pieces. */
static int32_t scaling_of(int64_t size)
{
    int exponent;
    if (size >= bits_of(INFINITY))
        return 0; /* nothing is promised of these */
    double fraction = frexp(number_of(size), &exponent);
    return -(exponent + (fraction > 0.99)); /* the rule of scaling.exponents */
}

static void survey_rows(const struct source *s, int64_t *sizes, char *out, step out_row, int streams)
{
    for (step r = 0; r < s->rows; r++) {
        struct source one = *s;
        one.x += r * s->row;
        one.rows = 1;
        rows_largest(one.x, s->row, 8, 1, s->columns, sizes + r);
        int32_t power = scaling_of(sizes[r]);
        one.row_power = &power;
        write_magnitudes(&one, out + r * out_row, out_row, streams);
    }
}

CLONES static void write_one_word(const struct source *s, int slices, char *out, step out_row, int streams)
{
    if (slices > 0 && slices <= 8) /* says to the compiler which case of convert_run this is */
        write_block(s, slices, 8, out, out_row, streams);
}

CLONES static void write_two_words(const struct source *s, int slices, char *out, step out_row, int streams)
{
    if (slices > 8)
        write_block(s, slices, 16, out, out_row, streams);
}

/* ---- From words to float64: exact sums, one rounding. --------------------------------------------------- */

/* N = sum over i of w[i] 2^(24 (words - 1 - i)), w[0] signed, the others of 24 bits once carries have gone up. */
#define BITS 24
#define MASK ((INT64_C(1) << BITS) - 1)
#define MOST_WORDS 6
#define BATCH 128 /* columns worked on at a time */

struct term {
    const char *words;
    int64_t coefficient, size; /* bytes of a word */
    step row, word, column;    /* strides */
};

struct result {
    char *out;
    step row, column; /* strides */
    step rows, columns;
    const int32_t *row_power, *column_power; /* NULL: zeros */
};

typedef int64_t batch_words[MOST_WORDS][BATCH];

INLINE void carry_up(batch_words w, int words, step count)
{
    for (int i = words - 1; i > 0; i--)
        for (step c = 0; c < count; c++) {
            w[i - 1][c] += w[i][c] >> BITS; /* arithmetic shift */
            w[i][c] &= MASK;
        }
}

#define TAKE(type, away, DO)                                                                                           \
    for (step c = 0; c < count; c++) {                                                                                 \
        int64_t word = *(const type *)(from + c * (away));                                                             \
        DO;                                                                                                            \
    }
#define TAKE_ANY(DO)                                                                                                   \
    if (size == 4 && column == 4)                                                                                      \
        TAKE(int32_t, 4, DO)                                                                                           \
    else if (size == 4)                                                                                                \
        TAKE(int32_t, column, DO)                                                                                      \
    else if (column == 8)                                                                                              \
        TAKE(int64_t, 8, DO)                                                                                           \
    else                                                                                                               \
        TAKE(int64_t, column, DO)

/* The sum of all terms for some columns of a row. */
INLINE void gather(const struct term *terms, int count_terms, int words, step r, step c0, step count, batch_words w)
{
    for (int i = 0; i < words; i++) {
        int64_t *restrict to = w[i];
        for (int t = 0; t < count_terms; t++) {
            const char *from = terms[t].words + r * terms[t].row + i * terms[t].word + c0 * terms[t].column;
            step column = terms[t].column;
            int64_t factor = terms[t].coefficient, size = terms[t].size;
            if (t == 0 && factor == 1) {
                TAKE_ANY(to[c] = word)
            } else if (t == 0) {
                TAKE_ANY(to[c] = factor * word)
            } else {
                TAKE_ANY(to[c] += factor * word)
            }
        }
    }
    carry_up(w, words, count);
}

/* N 2^power with one rounding, wherever the result lies; the words are as carry_up leaves them. One number at a time:
 * only for results that may be subnormal or overflow. */
static double round_one(const batch_words w, int words, step c, int64_t power)
{
    uint64_t n[4] = {0, 0, 0, 0}; /* |N|, lowest first */
    int negative = w[0][c] < 0;
    uint64_t carry = (uint64_t)negative;
    int used = 0;
    for (int i = words - 1; i >= 0; i--, used += BITS) {
        /* |N| word by word; the top one has up to 64 bits. */
        uint64_t word = negative ? ~(uint64_t)w[i][c] : (uint64_t)w[i][c];
        if (i > 0)
            word &= MASK;
        word += carry;
        carry = i > 0 ? word >> BITS : 0;
        if (i > 0)
            word &= MASK;
        n[used / 64] |= word << used % 64;
        if (used % 64)
            n[used / 64 + 1] |= word >> (64 - used % 64);
    }
    int length = 256;
    while (length && !(n[(length - 1) / 64] >> (length - 1) % 64 & 1))
        length--;
    if (!length)
        return 0.0;
    int64_t lowest = MOST(length + power - 53, -1074); /* exponent of the result's last place */
    int64_t drop = lowest - power;                    /* bits of |N| below it */
    if (drop > length)
        return negative ? -0.0 : 0.0;
    uint64_t kept = 0;
    if (drop <= 0) {
        kept = n[0]; /* of 53 bits or fewer */
        drop = 0;
    } else {
        for (int64_t at = drop; at < length; at++)
            kept |= (n[at / 64] >> at % 64 & 1) << (at - drop);
        int half = (int)(n[(drop - 1) / 64] >> (drop - 1) % 64 & 1), below = 0;
        for (int64_t at = 0; at < drop - 1 && !below; at++)
            below = (int)(n[at / 64] >> at % 64 & 1);
        kept += (uint64_t)(half && (below || (kept & 1)));
    }
    int64_t shift = LEAST(MOST(power + drop, -5000), 5000);
    double value = ldexp((double)kept, (int)shift);
    return negative ? -value : value;
}

/* N to float64 for words as carry_up leaves them, times 2^(power[c] - 24 (words - 1)): all powers within the range in
 * which the result is normal, or 0. `bits` holds 1023 + power in the place of an exponent.
 *
 * Three words: w[0] 2^48 is exact, |w[0]| < 2^53, and so are the 48 bits of the others; their sum is rounded once.
 * More: the sign goes out first, and w[0] is split, so that all limbs hold 24 bits. Leading zeros are shifted out, and
 * four limbs kept, which hold at least 73 bits if any follow; those become an odd last bit (S. Boldo, G. Melquiond, IEEE
 * Trans. Comput. 57, 462 (2008)). The upper two and the lower two limbs are exact, and their sum is rounded once. */
INLINE void round_batch(const batch_words w, int words, step count, const int64_t *bits, double *out)
{
    for (step c = 0; c < count; c++) {
        if (words == 3) {
            double upper = (double)w[0][c] * 0x1p48, lower = (double)(w[1][c] << BITS | w[2][c]);
            out[c] = (upper + lower) * number_of(bits[c] - (INT64_C(48) << 52));
            continue;
        }
        int64_t limb[MOST_WORDS + 1];
        int64_t sign = w[0][c] >> 63, carry = -sign, zeros = 0;
        for (int i = words - 1; i > 0; i--) {
            int64_t size = ((w[i][c] ^ sign) & MASK) + carry;
            carry = size >> BITS;
            limb[i + 1] = size & MASK;
        }
        int64_t size = (w[0][c] ^ sign) + carry;
        limb[0] = size >> BITS;
        limb[1] = size & MASK;
        for (int shift = 0; shift < words - 3; shift++) {
            int64_t empty = -(int64_t)(limb[0] == 0);
            for (int i = 0; i < words; i++)
                limb[i] = (limb[i] & ~empty) | (limb[i + 1] & empty);
            limb[words] &= ~empty;
            zeros -= empty;
        }
        int64_t rest = 0;
        for (int i = 4; i <= words; i++)
            rest |= limb[i];
        int64_t upper = limb[0] << BITS | limb[1], lower = limb[2] << BITS | limb[3] | (int64_t)(rest != 0);
        double value = (double)upper * 0x1p48 + (double)lower;
        int64_t factor = bits[c] - ((48 + BITS * zeros) << 52);
        out[c] = value * number_of(factor | (sign & INT64_MIN));
    }
}

/* The same for three int32 words as kernels give them, without a stop at int64; false if some word is not of 24 bits. */
INLINE int round_three(const struct term *term, step r, step c0, step count, const int64_t *bits, double *out)
{
    const char *from = term->words + r * term->row + c0 * 4;
    const int32_t *restrict w0 = (const int32_t *)from, *restrict w1 = (const int32_t *)(from + term->word),
                           *restrict w2 = (const int32_t *)(from + 2 * term->word);
    int32_t seen = 0;
    for (step c = 0; c < count; c++) {
        seen |= w1[c] | w2[c];
        double value = (double)w0[c] * 0x1p48 + ((double)w1[c] * 0x1p24 + (double)w2[c]);
        out[c] = value * number_of(bits[c] - (INT64_C(48) << 52));
    }
    return (seen & ~(int32_t)MASK) == 0;
}

INLINE void round_rows(const struct term *terms, int count_terms, int words, const struct result *to)
{
    batch_words w;
    int64_t bits[BATCH];
    double spare[BATCH];
    int plain = words == 3 && count_terms == 1 && terms->coefficient == 1 && terms->size == 4 && terms->column == 4;
    for (step r = 0; r < to->rows; r++) {
        int32_t own = to->row_power ? to->row_power[r] : 0;
        for (step c0 = 0; c0 < to->columns; c0 += BATCH) {
            step count = LEAST(BATCH, to->columns - c0);
            const int32_t *power = to->column_power ? to->column_power + c0 : NULL;
            char *place = to->out + r * to->row + c0 * to->column;
            double *out = to->column == 8 ? (double *)place : spare;
            int32_t least = own, most = own;
            if (power) {
                least = INT32_MAX, most = INT32_MIN;
                for (step c = 0; c < count; c++) {
                    int32_t both = own + power[c];
                    least = LEAST(least, both);
                    most = MOST(most, both);
                    bits[c] = (int64_t)((uint64_t)(1023 + (int64_t)both) << 52);
                }
            } else {
                for (step c = 0; c < count; c++)
                    bits[c] = (int64_t)((uint64_t)(1023 + (int64_t)own) << 52);
            }
            /* The smallest factor is that of a number with its upper words all zero. */
            if (least - BITS * (words - 1) >= -1022 && most <= 1023) {
                if (!(plain && round_three(terms, r, c0, count, bits, out))) {
                    gather(terms, count_terms, words, r, c0, count, w);
                    round_batch((const int64_t(*)[BATCH])w, words, count, bits, out);
                }
            } else {
                gather(terms, count_terms, words, r, c0, count, w);
                for (step c = 0; c < count; c++)
                    out[c] = round_one((const int64_t(*)[BATCH])w, words, c,
                                       (int64_t)own + (power ? power[c] : 0) - BITS * (words - 1));
            }
            if (out == spare)
                for (step c = 0; c < count; c++)
                    *(double *)(place + c * to->column) = spare[c];
        }
    }
}

#define ROUND(words)                                                                                                   \
    CLONES static void round_##words(const struct term *terms, int count, const struct result *to)                     \
    {                                                                                                                  \
        round_rows(terms, count, words, to);                                                                           \
    }
ROUND(3)
ROUND(4)
ROUND(5)
ROUND(6)

CLONES static void add_rows(char *total, step total_row, step total_column, const char *part, step part_row,
                            step part_column, step rows, step columns)
{
    for (step r = 0; r < rows; r++, total += total_row, part += part_row) {
        if (total_column == 8 && part_column == 4) {
            int64_t *restrict to = (int64_t *)total;
            const int32_t *restrict from = (const int32_t *)part;
            for (step c = 0; c < columns; c++)
                to[c] += from[c];
        } else {
            for (step c = 0; c < columns; c++)
                *(int64_t *)(total + c * total_column) += *(const int32_t *)(part + c * part_column);
        }
    }
}

/* ---- From Python. -------------------------------------------------------------------------------------- */

/* Addresses come as integers, of arrays that the caller holds; 0 stands for no array. */
#define AT(type, address) ((type *)(uintptr_t)(address))

static PyObject *largest(PyObject *Py_UNUSED(module), PyObject *args)
{
    int axis;
    step x, row, column, rows, columns, out;
    if (!PyArg_ParseTuple(args, "innnnnn", &axis, &x, &row, &column, &rows, &columns, &out))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    if (axis)
        rows_largest(AT(const char, x), row, column, rows, columns, AT(int64_t, out));
    else
        columns_largest(AT(const char, x), row, column, rows, columns, AT(int64_t, out));
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *convert(PyObject *Py_UNUSED(module), PyObject *args)
{
    int slices, streams;
    step x, row, column, rows, columns, row_power, column_power, out, out_row;
    if (!PyArg_ParseTuple(args, "innnnnnnnni", &slices, &x, &row, &column, &rows, &columns, &row_power, &column_power,
                          &out, &out_row, &streams))
        return NULL;
    if (slices < 0 || slices > 16)
        return PyErr_Format(PyExc_ValueError, "words have 1 to 16 digits; got %d", slices);
    struct source source = {AT(const char, x), row, column, rows, columns, AT(const int32_t, row_power),
                            AT(const int32_t, column_power)};
    streams = streams && STREAMS;
    Py_BEGIN_ALLOW_THREADS
    if (slices == 0)
        write_magnitudes(&source, AT(char, out), out_row, streams);
    else if (slices <= 8)
        write_one_word(&source, slices, AT(char, out), out_row, streams);
    else
        write_two_words(&source, slices, AT(char, out), out_row, streams);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *survey(PyObject *Py_UNUSED(module), PyObject *args)
{
    int streams;
    step x, row, column, rows, columns, sizes, out, out_row;
    if (!PyArg_ParseTuple(args, "nnnnnnnni", &x, &row, &column, &rows, &columns, &sizes, &out, &out_row, &streams))
        return NULL;
    if (column != 8)
        return PyErr_Format(PyExc_ValueError, "elements of a row must lie together; got a stride of %zd", column);
    struct source source = {AT(const char, x), row, column, rows, columns, NULL, NULL};
    Py_BEGIN_ALLOW_THREADS
    survey_rows(&source, AT(int64_t, sizes), AT(char, out), out_row, streams && STREAMS);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

#define MOST_TERMS 8

static PyObject *round_words(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *given;
    Py_ssize_t bytes;
    int words;
    step row_power, column_power, out, row, column, rows, columns;
    if (!PyArg_ParseTuple(args, "y#innnnnnn", &given, &bytes, &words, &row_power, &column_power, &out, &row, &column,
                          &rows, &columns))
        return NULL;
    int count = (int)(bytes / (6 * (Py_ssize_t)sizeof(int64_t)));
    if (count < 1 || count > MOST_TERMS || words < 3 || words > MOST_WORDS)
        return PyErr_Format(PyExc_ValueError, "sums have 1 to %d terms of 3 to %d words; got %d of %d", MOST_TERMS,
                            MOST_WORDS, count, words);
    struct term terms[MOST_TERMS];
    for (int t = 0; t < count; t++) {
        int64_t field[6];
        memcpy(field, given + t * (Py_ssize_t)sizeof field, sizeof field);
        terms[t] = (struct term){AT(const char, field[0]), field[1], field[2], (step)field[3], (step)field[4],
                                 (step)field[5]};
    }
    struct result result = {AT(char, out), row, column, rows, columns, AT(const int32_t, row_power),
                            AT(const int32_t, column_power)};
    Py_BEGIN_ALLOW_THREADS
    switch (words) {
    case 3: round_3(terms, count, &result); break;
    case 4: round_4(terms, count, &result); break;
    case 5: round_5(terms, count, &result); break;
    default: round_6(terms, count, &result);
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *add_words(PyObject *Py_UNUSED(module), PyObject *args)
{
    step total, total_row, total_column, part, part_row, part_column, rows, columns;
    if (!PyArg_ParseTuple(args, "nnnnnnnn", &total, &total_row, &total_column, &part, &part_row, &part_column, &rows,
                          &columns))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    add_rows(AT(char, total), total_row, total_column, AT(const char, part), part_row, part_column, rows, columns);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"largest", largest, METH_VARARGS, "Bits of the largest magnitudes of rows (axis 1) or columns (0)."},
    {"convert", convert, METH_VARARGS, "Scaled elements as words of digits, or as magnitudes (0 digits)."},
    {"survey", survey, METH_VARARGS, "Largest magnitudes of rows and, scaled by them, all magnitudes."},
    {"round_words", round_words, METH_VARARGS, "Sums of words, rounded once and scaled."},
    {"add_words", add_words, METH_VARARGS, "Add int32 to int64."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_fixed", "Fixed-point words of float64, and back.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__fixed(void) { return PyModuleDef_Init(&definition); }
