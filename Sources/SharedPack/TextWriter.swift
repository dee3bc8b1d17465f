import Tokenization

/// Turns tokens into text for a reader: whole characters only, and nothing of a stop string.
struct TextWriter: Sendable {
  private var decoder: StreamDecoder?
  private let stopStrings: [[UInt8]]
  /// Decoded text that could still be the start of a stop string.
  private var held: [UInt8] = []
  private(set) var hasStopped = false

  /// - Parameter decoder: nil writes nothing.
  init(decoder: StreamDecoder?, stopStrings: [String]) {
    self.decoder = decoder
    self.stopStrings = stopStrings.map { Array($0.utf8) }.filter { !$0.isEmpty }
  }

  /// - Returns: what can be shown after this token.
  mutating func push(_ token: Int32) -> String {
    guard let text = decoder?.push(token) else { return "" }
    return release(text)
  }

  /// - Returns: the remaining text.
  mutating func finish() -> String {
    guard !hasStopped, let text = decoder?.finish() else { return "" }
    let released = release(text)
    guard !hasStopped else { return released }
    defer { held = [] }
    return released + String(decoding: held, as: UTF8.self)
  }

  private mutating func release(_ text: String) -> String {
    guard !hasStopped else { return "" }
    guard !stopStrings.isEmpty else { return text }
    held += text.utf8
    // The one that is complete first, so that the answer does not depend on how tokens cut the text.
    let found = stopStrings.compactMap { held.firstRange(of: $0) }
    if let first = found.min(by: { ($0.upperBound, $0.lowerBound) < ($1.upperBound, $1.lowerBound) }) {
      hasStopped = true
      return String(decoding: held[..<first.lowerBound], as: UTF8.self)
    }
    // A suffix that starts a stop string waits for what follows.
    let waiting =
      stopStrings.map { stop in
        (1...stop.count).last { count in count <= held.count && held.suffix(count).elementsEqual(stop.prefix(count)) }
          ?? 0
      }.max() ?? 0
    // Characters stay whole: stop strings start where characters start.
    let shown = String(decoding: held.dropLast(waiting), as: UTF8.self)
    held.removeFirst(held.count - waiting)
    return shown
  }
}
