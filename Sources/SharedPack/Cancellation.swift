public import FileAccess

extension Refusal {
  /// Ends work for a task that was cancelled. Work outside of a task is never cancelled.
  /// - Throws: `Refusal` `cancelled`.
  static func checkCancellation(_ file: String) throws(Refusal) {
    if Task.isCancelled { throw Refusal(.cancelled, file: file, "the task that wanted this was cancelled") }
  }
}

extension Refusal.Name {
  /// The task for which something was encoded or read was cancelled.
  public static let cancelled = Refusal.Name("cancelled", .tryAgain)
}
