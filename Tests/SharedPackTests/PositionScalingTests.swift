import FileAccess
import LlamaRuntime
import ModelPacks
import Testing
import TreeStore

@testable import SharedPack

/// Models that are opened with other rotary positions than their pack's.
@Suite struct PositionScalingTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func source() throws -> DocumentSource {
    DocumentSource(name: "text", path: try scratch.write(Texts.first + Texts.second, to: "text.txt"))
  }

  @Test func theWindowGrows() async throws {
    let path = try TinyModel(injection: .none, window: 64).pack(in: scratch)
    let prompt = [Int32](repeating: 270, count: 100)
    let plain = try LanguageModel(opening: path)
    #expect(refusal { _ = try plain.generate(prompt) }?.name == .promptTooLong)
    let stretched = try LanguageModel(opening: path, positions: PositionScaling(.yarn, factor: 2.5))
    #expect(stretched.window == 160 && stretched.configuration.maxPositionCount == 160)
    #expect(stretched.pack.configuration.maxPositionCount == 64)
    let answer = try await stretched.generate(prompt, options: GenerationOptions(maxTokens: 4, ignoresEndOfText: true))
      .collect()
    #expect(answer.summary.tokens.count == 4)
    let shorter = try LanguageModel(
      opening: path, positions: PositionScaling(.linear, factor: 2, originalPositionCount: 40))
    #expect(shorter.window == 80)
    #expect(try LanguageModel(opening: path, positions: PositionScaling(.none)).window == 64)
  }

  @Test(arguments: [
    (PositionScaling(.linear, factor: 0.5), "factor is 0.5; it must be 1 or more"),
    (PositionScaling(.ntk, factor: .nan), "factor is nan; it must be 1 or more"),
    (
      PositionScaling(.yarn, factor: 2, originalPositionCount: 1 << 30),
      "2.0 times a window of 1073741824 tokens is not 1 to 1073741824"
    ),
    (
      PositionScaling(.yarn, factor: 2, originalPositionCount: 0),

      "2.0 times a window of 0 tokens is not 1 to 1073741824"
    ),
  ])
  func whatDoesNotFitIsRefused(_ positions: PositionScaling, _ fault: String) throws {
    let path = try TinyModel(injection: .none).pack(in: scratch)
    let refusal = refusal { _ = try LanguageModel(opening: path, positions: positions) }
    #expect(refusal?.description == "\(path): rotary positions: \(fault) [unfit-positions]")
  }

  /// Stored rows depend on the angles of keys.
  @Test(arguments: [TinyModel.Injection.none, .trained])
  func aStoreBelongsToItsScaling(_ injection: TinyModel.Injection) throws {
    let path = try TinyModel(injection: injection, window: 512).pack(in: scratch)
    let library = "\(scratch.path)/library"
    let plain = try LanguageModel(opening: path)
    let model = try LanguageModel(opening: path, positions: PositionScaling(.ntk, factor: 2))
    do {
      var builder =
        if injection == .none { try StoreBuilder(deeply: library, model: model) } else {
          try StoreBuilder(opening: library, model: model)
        }
      #expect(try builder.add(source()).outcome == .added)
    }
    let store = try DocumentStore(opening: library, model: model)
    #expect(store.store.configuration.rowNumerics.hasSuffix(";rope=ntk 2.0"))
    _ = try store.inquiry("what did the hen eat", about: ["text"])
    let other = try LanguageModel(opening: path, positions: PositionScaling(.ntk, factor: 3))
    for wrong in [plain, other] {
      let refusal = refusal { _ = try DocumentStore(opening: library, model: wrong) }
      #expect(refusal?.name == .configurationMismatch)
      #expect(refusal?.fault.contains("row numerics") == true)
    }
    // What changes no angle changes no rows.
    let same = try LanguageModel(opening: path, positions: PositionScaling(.none))
    let form = try plain.textForm(DeepReading(), frame: plain.readingFrame())
    #expect(same.storeConfiguration(form) == plain.storeConfiguration(form))
  }

  /// Where positions depend on the length of the text nothing of it can be read before; what is injected can.
  @Test func dynamicScalingStoresTreesAlone() async throws {
    let positions = PositionScaling(.dynamicNTK, factor: 2)
    let plain = try LanguageModel(opening: TinyModel(injection: .none).pack(in: scratch), positions: positions)
    let faults = [
      refusal { _ = try StoreBuilder(deeply: "\(scratch.path)/deep", model: plain) },
      refusal { _ = try StoreBuilder(exactly: "\(scratch.path)/exact", model: plain) },
      refusal { _ = try plain.prefix(reading: [5]) },
    ]
    for fault in faults {
      #expect(
        fault?.fault
          == "its rotary positions depend on the length of the text, so that nothing can be read before")
    }
    let trees = try LanguageModel(opening: TinyModel(window: 64).pack(in: scratch), positions: positions)
    let library = "\(scratch.path)/trees"
    do {
      var builder = try StoreBuilder(opening: library, model: trees)
      #expect(try builder.add(source()).outcome == .added)
    }
    let store = try DocumentStore(opening: library, model: trees)
    let stored = try store.inquiry("what did the hen eat", about: ["text"])
    let read = try trees.inquiry("what did the hen eat", about: [trees.encode(source())])
    let options = GenerationOptions(maxTokens: 70, ignoresEndOfText: true)
    let answers = (
      try await trees.generate(stored, options: options).collect(),
      try await trees.generate(read, options: options).collect()
    )
    #expect(answers.0.summary.tokens == answers.1.summary.tokens && answers.0.summary.tokens.count == 70)
  }
}
