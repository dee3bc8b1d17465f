public import FileAccess
import LlamaRuntime
import TreeStore

extension StoreBuilder {
  /// What happens while texts are added.
  public enum Event: Sendable {
    /// A text is being encoded: its name, the tokens done, those of them that were encoded, and all tokens.
    case progress(name: String, done: Int, encoded: Int, total: Int)
    /// A text is stored, and durable.
    case added(Report)
    /// A text was left out.
    case leftOut(Refusal)
  }

  /// Adds all texts of a reader, in their order. A text with a fault is left out and does not end the rest. Short texts
  /// are encoded several at once, and become durable together; the store is the one that adding them one after the other
  /// makes.
  /// - Parameters:
  ///   - reader: of the texts; it says how far it is.
  ///   - replacing: whether other texts may be there under the names.
  ///   - event: receives what happens; what it throws ends the work.
  /// - Throws: `Refusal` `cancelled`, `no-space` and others that are no single text's; what was committed before stays.
  public mutating func add(
    all reader: inout DocumentReader, replacing: Bool = false,
    event: (_ event: Event, _ share: Double?) throws(Refusal) -> Void
  ) throws(Refusal) {
    var waiting: [Report] = []
    do throws(Refusal) {
      try addEach(of: &reader, replacing: replacing, &waiting, event)
      try commit()
    } catch {
      // What came before the fault stays. A writer that has failed refuses this, and the first fault is told.
      do throws(Refusal) { try commit() } catch { waiting = [] }
      for report in waiting { try? event(.added(report), reader.share) }
      throw error
    }
    for report in waiting { try event(.added(report), reader.share) }
  }

  /// - Parameter waiting: texts that are stored but not durable yet.
  private mutating func addEach(
    of reader: inout DocumentReader, replacing: Bool, _ waiting: inout [Report],
    _ event: (_ event: Event, _ share: Double?) throws(Refusal) -> Void
  ) throws(Refusal) {
    var isAtEnd = false
    while !isAtEnd {
      // Short texts that follow one another, or a long one.
      var batch: [DocumentText] = []
      var byteCount = 0
      var fault: Refusal?
      while fault == nil, byteCount < 8 * Self.shortByteCount, batch.count < 64 {
        do throws(Refusal) {
          guard let document = try reader.next() else {
            isAtEnd = true
            break
          }
          guard shard?.contains(document.name) ?? true else { continue }
          batch.append(document)
          byteCount += document.text.count
          if document.text.count > Self.shortByteCount { break }
        } catch {
          fault = error
        }
      }
      try encodeAhead(batch.filter { $0.text.count <= Self.shortByteCount })
      for document in batch {
        try Refusal.checkCancellation(document.place)
        let share = reader.share
        // A long text would keep others waiting.
        if document.text.count > Self.shortByteCount {
          try makeDurable(&waiting) { (told) throws(Refusal) in try event(told, share) }
        }
        do throws(Refusal) {
          let report = try add(document, replacing: replacing, waits: true) { done, encoded, total in
            try? event(.progress(name: document.name, done: done, encoded: encoded, total: total), share)
          }
          waiting.append(report)
        } catch {
          guard error.isOfOneText else { throw error }
          try event(.leftOut(error), share)
        }
        if !hasChanges { try makeDurable(&waiting) { (told) throws(Refusal) in try event(told, share) } }
      }
      if let fault {
        try Refusal.checkCancellation(fault.file)
        try event(.leftOut(fault), reader.share)
      }
    }
  }

  /// - Parameter waiting: texts that are told once they are durable.
  private mutating func makeDurable(
    _ waiting: inout [Report], _ event: (Event) throws(Refusal) -> Void
  ) throws(Refusal) {
    guard !waiting.isEmpty else { return }
    try commit()
    let durable = waiting
    waiting = []
    for report in durable { try event(.added(report)) }
  }
}

extension Refusal {
  /// Whether another text may be added all the same.
  fileprivate var isOfOneText: Bool {
    [.documentExists, .documentNaming, .emptyDocument, .promptTooLong, .notFinite, .storeFull].contains(name)
  }
}
