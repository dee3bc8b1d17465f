import Conversion
import FileAccess
import LlamaRuntime
import ModelPacks
import PackedTiles
import Testing

@testable import SharedPack

@Suite struct CalibrationTests {
  private static let text = String(
    repeating: "the pack holds the weights, the store holds the trees, and a question reads both of them. ", count: 40)

  /// int4 weights that were rounded for a text answer to it more like the exact weights than other int4 weights do.
  @Test func calibratedWeightsAnswerMoreAsTheExactOnes() throws {
    let scratch = try Scratch()
    let directory = try TinyModel().checkpoint(in: scratch)
    func pack(_ encoding: TensorEncoding, _ name: String, _ moments: SecondMoments? = nil) throws -> LanguageModel {
      var options = Converter.Options()
      options.encoding = encoding
      _ = try Converter(directory: directory, options: options).run(
        output: "\(scratch.path)/\(name)", feedback: moments.map { moments in { moments.errorFeedback(forTensor: $0) } }
      )
      return try LanguageModel(opening: "\(scratch.path)/\(name)", threadCount: 2)
    }
    let exact = try pack(.float32, "exact.spk")
    let tokens = try exact.documentTokens(Array(Self.text.utf8), file: "text")
    var seen: [Int] = []
    let moments = try exact.secondMoments(reading: tokens, blockColumns: 256, file: "text") { done, total in
      seen.append(done)
      #expect(done <= total)
      if done == total { seen.append(-1) }
    }
    #expect(seen.last == -1)
    // There are moments for every matrix of a product, the trees' included; the embedding is only looked up.
    for tensor in exact.pack.tensors {
      let multiplies = tensor.name.contains("_proj") || tensor.name.contains("lm_head")
      #expect((moments.errorFeedback(forTensor: tensor.name) != nil) == multiplies, "\(tensor.name)")
    }
    func logits(_ model: LanguageModel) throws -> [Float] {
      let read = Array(tokens[100..<300])
      return Session(model.runtime, capacity: 200, threads: ThreadPool(threadCount: 1)).readAll(read)
    }
    let wanted = try logits(exact)
    func distance(_ model: LanguageModel) throws -> Float {
      zip(try logits(model), wanted).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    }
    let plain = try distance(pack(.int4(groupSize: 32), "plain.spk"))
    let calibrated = try distance(pack(.int4(groupSize: 32), "calibrated.spk", moments))
    #expect(calibrated < 0.7 * plain)
  }

  /// Threads divide the work, not the sums.
  @Test func momentsDoNotDependOnThreads() throws {
    let scratch = try Scratch()
    let path = try TinyModel(injection: .none).pack(in: scratch)
    let weights = try [1, 3].map { threadCount in
      let model = try LanguageModel(opening: path, threadCount: threadCount)
      let tokens = try model.documentTokens(Array(Self.text.utf8), file: "text")
      let moments = try model.secondMoments(reading: tokens, blockColumns: 8, file: "text")
      let feedback = try #require(moments.errorFeedback(forTensor: "model.layers.1.mlp.down_proj.weight"))
      let layout = try #require(PackedTileLayout(rows: 1, columns: feedback.columns, groupSize: 8))
      var tiles = [UInt8](repeating: 0, count: layout.byteCount)
      let row = (0..<feedback.columns).map { Float($0 * 7919 % 1000) / 500 - 1 }
      unsafe row.withUnsafeBufferPointer { row in
        unsafe tiles.withUnsafeMutableBytes {
          #expect(unsafe PackedTiles.quantize(row, layout: layout, feedback: feedback, into: $0))
        }
      }
      return tiles
    }
    #expect(weights[0] == weights[1])
  }

  /// The library's whole way: its steps, what is planned, and what is refused before anything is written.
  @Test func conversionsAreRoundedForATextThatIsNamed() throws {
    let scratch = try Scratch()
    let directory = try TinyModel().checkpoint(in: scratch)
    let book = try scratch.write(Self.text, to: "book.txt")
    let names = try Set(Directory.names(in: scratch.path))
    var options = ModelConversion.Options()
    options.encoding = .int4(groupSize: 32)
    let plain = try ModelConversion(directory: directory, options: options)
    let conversion = try ModelConversion(directory: directory, options: options, calibrationText: book)
    #expect(conversion.plan.memoryByteCount > plain.plan.memoryByteCount)
    var steps: [ModelConversion.Progress] = []
    let summary = try conversion.run(output: "\(scratch.path)/a.spk") { steps.append($0) }
    for step in ModelConversion.Step.allCases {
      let last = try #require(steps.last { $0.step == step })
      #expect(last.done == last.total)
    }
    #expect(steps.first?.step == .convertingForCalibration)
    #expect(summary.sources.map(\.name).contains("book.txt"))
    #expect(try plain.run(output: "\(scratch.path)/b.spk").identity != summary.identity)
    #expect(try Set(Directory.names(in: scratch.path)) == names.union(["a.spk", "b.spk"]))

    for encoding: TensorEncoding in [.float16, .float32, .int8(groupSize: 512)] {
      options.encoding = encoding
      let found = refusal {
        _ = try ModelConversion(directory: directory, options: options, calibrationText: book)
      }
      #expect(found?.name == .invalidOption)
      #expect(found?.name.exitStatus == .usage)
    }
    #expect(refusal { _ = try plain.run(output: scratch.path) }?.name == .cannotCreate)
  }

  @Test func aShortTextIsRefused() throws {
    let scratch = try Scratch()
    let model = try LanguageModel(opening: TinyModel().pack(in: scratch))
    let tokens = [Int32](repeating: 5, count: 511)
    #expect(throws: Refusal.self) { try model.secondMoments(reading: tokens, blockColumns: 256, file: "text") }
  }
}
