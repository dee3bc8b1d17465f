// What the comparison needs of a C library, on an emulated machine without an operating system. Text goes to the first
// serial port; the last line is the status that `main` returned, after which the machine is switched off.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

int main(void);

#define SERIAL_PORT 0x3F8

static void write_port(uint16_t port, char byte) { __asm__ volatile("outb %0, %1" : : "a"(byte), "Nd"(port)); }

static char read_port(uint16_t port) {
  char byte;
  __asm__ volatile("inb %1, %0" : "=a"(byte) : "Nd"(port));
  return byte;
}

static void write_byte(char byte) {
  // Until the byte before is sent.
  while (!(read_port(SERIAL_PORT + 5) & 0x20)) continue;
  write_port(SERIAL_PORT, byte);
}

static void write_text(const char *text) {
  for (; *text; text++) write_byte(*text);
}

static void write_number(unsigned number) {
  if (number > 9) write_number(number / 10);
  write_byte((char)('0' + number % 10));
}

__attribute__((noreturn)) static void stop(int status) {
  write_text("status ");
  write_number((unsigned)status);
  write_text("\n");
  while (!(read_port(SERIAL_PORT + 5) & 0x40)) continue;
  // Switches the emulated machine off.
  for (const char *c = "Shutdown"; *c; c++) write_port(0x8900, *c);
  for (;;) __asm__ volatile("hlt");
}

void abort(void) { stop(134); }

// Strings and numbers only.
int printf(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  for (; *format; format++) {
    if (*format != '%') write_byte(*format);
    else if (*++format == 'd') write_number((unsigned)va_arg(arguments, int));
    else write_text(va_arg(arguments, const char *));
  }
  va_end(arguments);
  return 0;
}

// After the stack, up to a little less than the GiB that the machine has. Nothing is freed, as there is enough.
static uint8_t *next = (uint8_t *)0x1000000;
static uint8_t *const end = (uint8_t *)0x3F000000;

void *memset(void *to, int value, size_t count) {
  void *place = to;
  __asm__ volatile("rep stosb" : "+D"(place), "+c"(count) : "a"(value) : "memory");
  return to;
}

void *calloc(size_t count, size_t size) {
  size_t bytes = (count * size + 63) / 64 * 64;
  if (bytes > (size_t)(end - next)) abort();
  void *result = memset(next, 0, bytes);
  next += bytes;
  return result;
}

void free(void *memory) {}

void *memcpy(void *to, const void *from, size_t count) {
  void *place = to;
  __asm__ volatile("rep movsb" : "+D"(place), "+S"(from), "+c"(count) : : "memory");
  return to;
}

int memcmp(const void *x, const void *y, size_t count) {
  const uint8_t *a = x, *b = y;
  for (; count; count--, a++, b++)
    if (*a != *b) return *a < *b ? -1 : 1;
  return 0;
}

int strcmp(const char *x, const char *y) {
  for (; *x && *x == *y; x++, y++) continue;
  return *(const uint8_t *)x - *(const uint8_t *)y;
}

float fmaf(float x, float y, float z) {
  __asm__("vfmadd213ss %2, %1, %0" : "+x"(x) : "x"(y), "x"(z));
  return x;
}

float sqrtf(float x) {
  __asm__("sqrtss %0, %0" : "+x"(x));
  return x;
}

void run(void) {
  write_port(SERIAL_PORT + 3, 3);  // Eight bits a byte.
  stop(main());
}
