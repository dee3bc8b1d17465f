import FileAccess
import Glibc
import Testing

/// A directory that is removed when the test ends.
final class Workplace: Sendable {
  let path: String

  init() throws(Refusal) { path = try Directory.temporary("file-access-tests") }

  deinit { try? Directory.removeTree(path) }

  func file(_ name: String, _ bytes: [UInt8]) throws -> String {
    let path = "\(path)/\(name)"
    let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    try #require(descriptor >= 0)
    defer { close(descriptor) }
    let count = unsafe bytes.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
    try #require(count == bytes.count)
    return path
  }
}

/// The name of the refusal that a body ends with; nil when it ends well.
func refusal(_ body: () throws(Refusal) -> Void) -> String? {
  do {
    try body()
    return nil
  } catch {
    return error.name.text
  }
}
