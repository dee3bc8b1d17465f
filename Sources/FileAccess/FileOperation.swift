/// A system call that is about to happen. Tests observe these and make them fail.
public enum FileOperation: Sendable, Hashable {
  case open(path: String)
  case create(path: String)
  case read(path: String, byteCount: Int)
  case map(path: String)
  case write(path: String, byteOffset: Int, byteCount: Int)
  case synchronize(path: String)
  case rename(from: String, to: String)
  case synchronizeDirectory(path: String)
  case remove(path: String)
  case createDirectory(path: String)
  case lock(path: String)

  /// The seam for fault injection: called before every system call of the current task, it may throw in its place.
  /// Nothing but tests sets it.
  @TaskLocal public static var probe: (@Sendable (FileOperation) throws(Refusal) -> Void)?

  func announce() throws(Refusal) {
    guard let probe = Self.probe else { return }
    try probe(self)
  }
}
