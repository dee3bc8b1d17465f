// The functions for one digest, which OpenSSL 3 advises against for a wider interface: their state is a plain value.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
