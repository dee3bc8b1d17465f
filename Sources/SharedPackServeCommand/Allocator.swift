import Glibc

/// How the C library allocates memory for a server, whose requests come and go for months.
///
/// What an answer allocates is large, and lives shorter than what is kept of its conversation. Without this, both come
/// from heaps of which only the end is ever given back, one for every thread: they grow, and stay, many times as large as
/// what is in them.
enum Allocator {
  /// Called once, before there are other threads. A C library without these options goes on as it does.
  static func prepare() {
    guard let symbol = unsafe dlsym(nil, "mallopt") else { return }
    let set = unsafe unsafeBitCast(symbol, to: (@convention(c) (_ option: Int32, _ value: Int32) -> Int32).self)
    // Source: malloc.h of glibc. Pages of their own from so many bytes on, whatever was freed before.
    let mmapThreshold: Int32 = -3
    _ = set(mmapThreshold, 64 << 10)
    // One heap for what is smaller.
    let arenaMax: Int32 = -8
    _ = set(arenaMax, 1)
  }
}
