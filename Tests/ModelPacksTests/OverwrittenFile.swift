import Glibc
import Testing

/// Changes single bytes of a file in place, as rot does.
struct OverwrittenFile {
  private let descriptor: Int32

  init(_ path: String) throws {
    descriptor = unsafe open(path, O_WRONLY)
    try #require(descriptor >= 0)
  }

  mutating func overwrite(_ byte: UInt8, at offset: Int) throws {
    var byte = byte
    let count = unsafe pwrite(descriptor, &byte, 1, off_t(offset))
    try #require(count == 1)
  }
}
