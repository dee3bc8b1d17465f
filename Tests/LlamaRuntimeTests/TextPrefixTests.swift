import FileAccess
import LlamaRuntime
import ModelPacks
import NodeBlocks
import Testing

/// Stored rows of a text stand in for having read it.
@Suite struct TextPrefixTests {
  /// The bits of one long prompt, wherever it is cut and however often the text is continued.
  @Test(arguments: InvarianceTests.encodings)
  func aStoredBeginningChangesNothing(_ quantization: TensorEncoding) throws {
    let pack = try TestPack(.small, quantization: quantization)
    let tokens = LlamaConfiguration.small.tokens("text", 1400)
    let whole = Session(pack.model, capacity: 1400, threads: ThreadPool(threadCount: 2))
    let expected = whole.readAll(tokens)
    let width = LlamaConfiguration.small.vocabularySize
    for length in [64, 1024, 1216] {
      var prefix = TextPrefix(layout: pack.model.textRowLayout)
      // Each piece is read behind those before it.
      for start in stride(from: 0, to: length, by: 1024) {
        let piece = start..<min(start + 1024, length)
        let session = Session(pack.model, behind: prefix, capacity: piece.count, threads: ThreadPool(threadCount: 2))
        let logits = session.readAll(tokens[piece])
        #expect(logits == Array(expected[piece.lowerBound * width..<piece.upperBound * width]), "\(piece)")
        prefix.append(try session.rows(0..<piece.count), readAt: piece.lowerBound)
      }
      #expect(prefix.tokenCount == length)
      let rest = tokens[length..<length + 160]
      for threadCount in [1, 3] {
        let session = Session(
          pack.model, behind: prefix, capacity: rest.count, threads: ThreadPool(threadCount: threadCount))
        #expect(
          session.readAll(rest) == Array(expected[length * width..<(length + rest.count) * width]), "\(length)")
      }
      let stepwise = Session(pack.model, behind: prefix, capacity: rest.count, threads: ThreadPool(threadCount: 3))
      var logits: [Float] = []
      for token in rest { logits += stepwise.read(CollectionOfOne(token)) }
      #expect(logits == Array(expected[length * width..<(length + rest.count) * width]), "\(length), step by step")
    }
  }

  /// Rows that are moved meet queries at the distance of their new place. Keys of a model of one layer depend on nothing
  /// but their token and its position, so that rows that were read behind others stand for rows that were read alone.
  @Test func movedRowsAreAsIfReadThere() throws {
    var configuration = LlamaConfiguration.small
    configuration.layerCount = 1
    let pack = try TestPack(configuration, quantization: .float32)
    let (tokens, question) = (configuration.tokens("text", 100), configuration.tokens("ask", 20))
    let none = TextPrefix(layout: pack.model.textRowLayout)
    func read(_ tokens: [Int32], behind prefix: TextPrefix) -> (logits: [Float], session: Session) {
      let session = Session(pack.model, behind: prefix, capacity: tokens.count)
      return (session.readAll(tokens), session)
    }
    var filler = none
    filler.append(try read(configuration.tokens("filler", 128), behind: none).session.rows(0..<128), readAt: 0)
    let elsewhere = try read(tokens, behind: filler).session.rows(0..<100)
    let alone = try read(tokens, behind: none).session.rows(0..<100)
    for range in [0..<100, 0..<64, 64..<100] {
      // Towards the start of the text, and away from it.
      for prefix in [none, filler] {
        var (moved, expected) = (prefix, prefix)
        moved.append(elsewhere, range: range, readAt: 128)
        expected.append(alone, range: range, readAt: 0)
        let answers = (read(question, behind: moved).logits, read(question, behind: expected).logits)
        #expect(zip(answers.0, answers.1).allSatisfy { abs($0 - $1) < 1e-4 }, "\(range)")
        var unmoved = prefix
        unmoved.append(elsewhere, range: range, readAt: prefix.tokenCount - range.lowerBound)
        #expect(prefix.tokenCount == 128 || read(question, behind: unmoved).logits != answers.1)
      }
    }
  }
}
