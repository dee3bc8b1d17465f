import ModelPacks
import Testing

@testable import LlamaRuntime

/// The seam between caches and policies: what a policy drops of a layer and a head is not read again, nothing else
/// changes, and the weights that it is given are those of the softmax.
@Suite struct RowPolicyTests {
  /// Of the rows of a layer and a head, keeps those of the tokens that it likes, and the last one.
  private final class LikedRows: RowChooser {
    let likes: (_ layer: Int, _ head: Int, _ token: Int) -> Bool
    private let needsWeights: Bool
    /// The tokens of the rows, by layer and head.
    private(set) var tokens: [[Int]: [Int]] = [:]
    /// The weights of tokens, summed over all steps, by layer, head and token.
    private(set) var weights: [[Int]: Double] = [:]

    init(needsWeights: Bool = false, likes: @escaping (_ layer: Int, _ head: Int, _ token: Int) -> Bool) {
      self.likes = likes
      self.needsWeights = needsWeights
    }

    var rowLimit: Int? { nil }
    var weighsSingleTokens: Bool { needsWeights }
    func weighedQueries(ofPrompt count: Int) -> Int { needsWeights ? count : 0 }

    func add(_ new: Span<Float>, to rows: inout RowList, layer: Int, head: Int) {
      #expect(needsWeights && new.count == rows.count)
      for (row, token) in rows.positions.enumerated() {
        weights[[layer, head, Int(token)], default: 0] += Double(new[row])
      }
    }

    func choose(
      among rows: inout RowList, layer: Int, head: Int, after step: ChoiceStep, dropping dropped: inout [Int]
    ) {
      let rest = rows.positions.map(Int.init)
      #expect(rest.max() == step.latest)
      dropped = rest.indices.filter { !likes(layer, head, rest[$0]) && rest[$0] != step.latest }
      tokens[[layer, head]] = rest.filter { likes(layer, head, $0) || $0 == step.latest }
    }
  }

  private static let promptCount = 300
  private static let tokens = LlamaConfiguration.small.tokens("policy", 340)

  /// Reads a prompt of two blocks, then tokens one by one.
  private func logits(_ session: Session) -> [Float] {
    var logits = session.read(Self.tokens.prefix(Self.promptCount))
    for token in Self.tokens.dropFirst(Self.promptCount) { logits += session.read(CollectionOfOne(token)) }
    return logits
  }

  /// What is there is what the full cache has, to the bit; with packed rows the chosen ones are float16.
  @Test(arguments: [TensorEncoding.float32, .float16])
  func aPolicyThatKeepsAllIsFull(_ quantization: TensorEncoding) throws {
    let pack = try TestPack(.small, quantization: quantization)
    let full = logits(Session(pack.model, capacity: 400))
    for needsWeights in [false, true] {
      for threadCount in [1, 3] {
        let chooser = LikedRows(needsWeights: needsWeights) { _, _, _ in true }
        let session = Session(
          pack.model, capacity: 400, rowPolicy: ChosenRows(chooser), threads: ThreadPool(threadCount: threadCount))
        #expect(logits(session) == full)
      }
    }
  }

  /// Where a cache without a policy packs its rows, a first prompt is read as by that one; weights do not depend on
  /// threads.
  @Test func firstPromptsSeePackedRows() throws {
    let pack = try TestPack(.small, quantization: .int8(groupSize: 16))
    let full = Session(pack.model, capacity: 400).read(Self.tokens.prefix(Self.promptCount))
    var weights: [[[Int]: Double]] = []
    var rest: [[Float]] = []
    for threadCount in [1, 3] {
      let chooser = LikedRows(needsWeights: true) { layer, head, token in (token + layer + head) % 3 > 0 }
      let session = Session(
        pack.model, capacity: 400, rowPolicy: ChosenRows(chooser), threads: ThreadPool(threadCount: threadCount))
      #expect(session.read(Self.tokens.prefix(Self.promptCount)) == full)
      // Three heads of a group in two groups of three layers; each query gives 1, but for rounded weights.
      #expect(abs(chooser.weights.reduce(0) { $0 + $1.value } / Double(18 * Self.promptCount) - 1) < 1e-3)
      rest.append(session.read(Self.tokens.dropFirst(Self.promptCount)))
      weights.append(chooser.weights)
    }
    #expect(weights[0] == weights[1] && rest[0] == rest[1])
  }

  /// Every layer and head drops other rows, at the end of the prompt and after every token.
  @Test func droppedRowsAreNotReadAgain() throws {
    func likes(_ layer: Int, _ head: Int, _ token: Int) -> Bool { (token * 7 + layer * 3 + head * 5) % 11 < 4 + layer }
    let pack = try TestPack(.small)
    let policy = LikedRows(needsWeights: true, likes: likes)
    let session = Session(
      pack.model, capacity: 400, rowPolicy: ChosenRows(policy), threads: ThreadPool(threadCount: 2))
    let actual = logits(session)
    let reference = ReferenceLlama { layer, head, t in
      var seen = Array(0...t)
      // The row of the token before is the last one of the step before, which stays until the next choice.
      if t >= Self.promptCount { seen = seen.filter { likes(layer, head, $0) || $0 >= t - 1 } }
      return ReferenceLlama.Seen(tokens: seen, positions: seen, position: t)
    }
    let vocabulary = LlamaConfiguration.small.vocabularySize
    let expected = reference.logits(Self.tokens).dropFirst((Self.promptCount - 1) * vocabulary)
    #expect(actual.count == expected.count)
    #expect((zip(actual, expected).map { abs(Double($0) - $1) }.max() ?? .infinity) < 1e-4)
    #expect(policy.tokens[[2, 1]]?.count != policy.tokens[[0, 1]]?.count)

    var weights: [[Int]: Double] = [:]
    for (key, given) in reference.weights {
      for (token, weight) in given { weights[[key[0], key[1], token], default: 0] += weight }
    }
    #expect(weights.count == policy.weights.count)
    #expect((weights.map { abs($1 - policy.weights[$0, default: .infinity]) }.max() ?? .infinity) < 1e-3)
  }
}
