import FileAccess
import Glibc
import Synchronization
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

/// Notes system calls and lets one fail.
final class Recorder: Sendable {
  private let operations = Mutex<[FileOperation]>([])
  private let failing: Int?

  init(failing: Int? = nil) { self.failing = failing }

  var all: [FileOperation] { operations.withLock { $0 } }

  func probing(_ body: () -> Void) {
    let probe: @Sendable (FileOperation) throws(Refusal) -> Void = { (operation) throws(Refusal) in
      let number = self.operations.withLock { operations in
        operations.append(operation)
        return operations.count - 1
      }
      if number == self.failing { throw Refusal(.inputOutput, file: "injected", "") }
    }
    FileOperation.withProbe(probe, body)
  }
}
