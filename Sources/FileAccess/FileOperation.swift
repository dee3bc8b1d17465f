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

  /// What is called before every system call, and may throw in its place.
  public typealias Probe = @Sendable (FileOperation) throws(Refusal) -> Void

  /// In a struct, because a task-local function with a typed error is miscompiled (Swift 6.3, optimized).
  private struct ProbeBox: Sendable {
    let probe: Probe
  }

  @TaskLocal private static var box: ProbeBox?

  /// The probe of the current task.
  public static var probe: Probe? { box?.probe }

  /// The seam for fault injection: the probe is asked before every system call that the body makes on the current
  /// task. Nothing but tests sets one.
  public static func withProbe<Value, Failure: Error>(
    _ probe: Probe?, _ body: () throws(Failure) -> Value
  ) throws(Failure) -> Value {
    guard let probe else { return try body() }
    let result = $box.withValue(ProbeBox(probe: probe)) { () -> Result<Value, Failure> in
      do throws(Failure) {
        return .success(try body())
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  func announce() throws(Refusal) {
    guard let box = Self.box else { return }
    try box.probe(self)
  }
}
