public import CanonicalJSON
import SharedPack

/// An answer that has begun: told whole, or piece by piece.
public struct Reply: Sendable {
  /// Whether the request wants pieces.
  public let isStreamed: Bool
  private let answer: AnswerStream
  private let start: String
  private let tokenizer: Tokenizer?
  private var shape: any AnswerShape

  init(_ answer: AnswerStream, start: String, tokenizer: Tokenizer?, shape: any AnswerShape, isStreamed: Bool) {
    self.answer = answer
    self.start = start
    self.tokenizer = tokenizer
    self.shape = shape
    self.isStreamed = isStreamed
  }

  /// Waits for the whole answer.
  /// - Throws: `Refusal` when a file changed meanwhile or the engine closes, `CancellationError`.
  public func whole() async throws -> JSONValue {
    var shape = shape
    var text = start
    var tokens: [TokenChoice] = []
    for try await event in answer {
      switch event {
      case .started, .promptProgress: break
      case .piece(let piece):
        text += piece.text
        tokens += piece.tokens
      case .finished(let summary): return shape.whole(text, tokens, summary, tokenizer)
      }
    }
    throw CancellationError()
  }

  /// What a stream says.
  public enum Piece: Sendable, Hashable {
    /// A part of the answer.
    case data(AnswerEventText)
    /// That work goes on: no part of the answer.
    case progress(done: Int, of: Int)
  }

  /// Waits for piece after piece.
  /// - Parameter body: is given each as it comes; what it throws ends the work.
  /// - Throws: as ``whole()``.
  public func forEachPiece(_ body: (Piece) async throws -> Void) async throws {
    var shape = shape
    for piece in shape.start() { try await body(.data(piece)) }
    for try await event in answer {
      switch event {
      case .started: if !start.isEmpty { try await body(.data(shape.piece(start, [], tokenizer))) }
      case .promptProgress(let done, let total): try await body(.progress(done: done, of: total))
      case .piece(let piece): try await body(.data(shape.piece(piece.text, piece.tokens, tokenizer)))
      case .finished(let summary):
        for piece in shape.end(summary) { try await body(.data(piece)) }
        return
      }
    }
    throw CancellationError()
  }
}
