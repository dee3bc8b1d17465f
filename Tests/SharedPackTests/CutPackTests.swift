import FileAccess
import Foundation
import SharedPack
import Testing
import TreeStore

/// What is wrong with a pack ends what needs it, and nothing else.
@Suite struct CutPackTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func refusalOf(_ work: () async throws -> Void) async -> Refusal? {
    do {
      try await work()
      return nil
    } catch {
      return error as? Refusal
    }
  }

  /// A process with several models goes on when one of their packs is cut short: an answer that is being written, too.
  @Test func otherModelsGoOn() async throws {
    let (path, otherPath) = (try TinyModel().pack(in: scratch), try TinyModel(seed: 1).pack(in: scratch))
    let (model, other) = (try LanguageModel(opening: path), try LanguageModel(opening: otherPath))
    let prompt: [Int32] = [1, 262, 264]
    let options = GenerationOptions(maxTokens: 20, ignoresEndOfText: true)
    let right = try await other.generate(prompt, options: options).collect().text
    let size = try #require(try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int)
    let refusal = await refusalOf {
      for try await event in try model.generate(prompt, options: options) {
        if case .promptProgress = event { truncate(path, size / 2) }
      }
    }
    // It may have been done.
    if let refusal { #expect(refusal.name.text == "file-changed" && refusal.name.exitStatus == .inputOutput) }
    let later = await refusalOf { _ = try await model.generate(prompt, options: options).collect() }
    #expect(later?.name.text == "file-changed" && later?.file == path)
    #expect(try await other.generate(prompt, options: options).collect().text == right)
    // Nothing of it enters a store.
    let store = "\(scratch.path)/store"
    let source = DocumentSource(name: "text", path: try scratch.write(Texts.first, to: "text"))
    let building = await refusalOf {
      var builder = try StoreBuilder(opening: store, model: model)
      _ = try builder.add(source)
    }
    #expect(building?.name.text == "file-changed")
    #expect(try TreeStore(opening: store).statistics().uniqueChunks == 0)
  }

  private func truncate(_ path: String, _ byteCount: Int) {
    let file = FileHandle(forUpdatingAtPath: path)
    try? file?.truncate(atOffset: UInt64(byteCount))
    try? file?.close()
  }

  /// Damaged weights answer a program that does not ask for them to be verified, but a store has none of them.
  @Test func damagedWeightsBuildNoStore() async throws {
    let path = try TinyModel().pack(in: scratch)
    let model = try LanguageModel(opening: path)
    let tensor = try #require(model.pack.tensors.first { $0.name.contains("mlp") })
    let file = try #require(FileHandle(forUpdatingAtPath: path))
    try file.seek(toOffset: UInt64(tensor.byteOffset + 1))
    let byte = try #require(try file.read(upToCount: 1)?.first)
    try file.seek(toOffset: UInt64(tensor.byteOffset + 1))
    try file.write(contentsOf: [byte ^ 1])
    try file.close()
    let store = "\(scratch.path)/store"
    let source = DocumentSource(name: "text", path: try scratch.write(Texts.first, to: "text"))
    var builder = try StoreBuilder(opening: store, model: model)
    for _ in 0..<2 {
      do {
        _ = try builder.add(source)
        Issue.record("damaged weights were not found")
      } catch {
        #expect(error.name.text == "digest-mismatch" && error.structure == "tensor \(tensor.name)")
      }
    }
    #expect(try TreeStore(opening: store).statistics().uniqueChunks == 0)
    #expect(refusal { try model.verifyWeights(.always) }?.name.text == "digest-mismatch")
    #expect((try? model.verifyWeights(.never)) != nil)
  }
}
