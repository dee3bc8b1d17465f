import CanonicalJSON
import Conversion
import Evaluation
import FileAccess
import LlamaRuntime
import ModelPacks
import SharedPack
import Testing

/// A trained model of 260 thousand parameters: the text that another program expects of it, and what int8 costs.
@Suite(.enabled(if: SharedFiles.hasStories, "../shared/models/stories260K is not there"))
struct TrainedModelTests {
  let scratch: Scratch
  /// The begin-of-text token and 199 greedy ones.
  let tokens: [Int32]
  let text: String

  init() throws {
    scratch = try Scratch()
    let bytes = try SequentialFile.contents("\(SharedFiles.stories)/expected.json", limit: 1 << 20)
    let json = try JSONValue(parsing: bytes)
    tokens = (json["greedy_ids"]?.array ?? []).compactMap { $0.integer.map { Int32($0) } }
    text = try #require(json["greedy_text"]?.string)
    try #require(tokens.count == 200)
  }

  private func model(_ encoding: TensorEncoding) throws -> LanguageModel {
    var options = Converter.Options()
    options.encoding = encoding
    let path = "\(scratch.path)/\(encoding).spk"
    _ = try Converter(directory: SharedFiles.stories, options: options).run(output: path)
    return try LanguageModel(opening: path, threadCount: 2)
  }

  private func logits(_ model: LanguageModel) -> [Float] {
    Session(model.runtime, capacity: tokens.count, threads: ThreadPool(threadCount: 2)).readAll(tokens.dropLast())
  }

  @Test func greedyTextIsTheExpected() async throws {
    let model = try model(.float32)
    let answer = try await model.generate(
      [tokens[0]], options: GenerationOptions(maxTokens: tokens.count - 1, ignoresEndOfText: true)
    ).collect()
    #expect(answer.summary.tokens == Array(tokens.dropFirst()))
    #expect(answer.text == text)
  }

  /// Token for token from the expected text: int8 chooses the same next token on 97 % of the positions, and its
  /// distributions are within 1.2e-3 nats of our own float's.
  @Test(arguments: [128, 64, 32]) func int8StaysNearFloat(groupSize: Int) throws {
    let float = try model(.float32)
    let vocabulary = float.configuration.vocabularySize
    let expected = logits(float)
    let actual = logits(try model(.int8(groupSize: groupSize)))
    let divergence = GoldenComparison.meanDivergence(of: actual, from: expected, vocabulary: vocabulary)
    let agreeing = (0..<tokens.count - 1).count { position in
      let row = actual[position * vocabulary..<(position + 1) * vocabulary]
      return row.indices.max { row[$0] < row[$1] }.map { Int32($0 - row.startIndex) } == tokens[position + 1]
    }
    print(
      "stories260K, int8 in groups of \(groupSize): same next token on \(agreeing) of \(tokens.count - 1) positions,"
        + " mean divergence \(Float(divergence)) nats")
    #expect(Double(agreeing) >= 0.97 * Double(tokens.count - 1))
    #expect(divergence < 1.2e-3)
  }

  /// What half-precision keys, values and weights cost alone.
  @Test func float16StaysNearer() throws {
    let float = try model(.float32)
    let divergence = GoldenComparison.meanDivergence(
      of: logits(try model(.float16)), from: logits(float), vocabulary: float.configuration.vocabularySize)
    print("stories260K, float16: mean divergence \(Float(divergence)) nats")
    #expect(divergence < 1e-5)
  }
}
