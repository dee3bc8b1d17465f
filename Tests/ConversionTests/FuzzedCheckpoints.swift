import CanonicalJSON
import FileAccess
import Fuzzing
import Testing
import Tokenization

@testable import Conversion

/// Headers and configurations of checkpoints, whatever their bytes: see `FuzzedReader`.
@Suite struct FuzzedCheckpoints {
  @Test func gguf() throws {
    try FuzzedReader.run("gguf", seeds: try GGUFFuzzTests.headers()) { bytes in
      // The numbers behind the header are not read here.
      guard let checkpoint = try? Checkpoint(ggufHeader: bytes, fileByteCount: 1 << 20, path: "fuzz") else { return }
      for tensor in checkpoint.weights.files.flatMap(\.tensors) {
        precondition(tensor.byteRange.upperBound <= 1 << 20 && tensor.shape.allSatisfy { $0 > 0 })
      }
      _ = try? checkpoint.configuration.llama(isSharedLLM: false)
      _ = try? checkpoint.configuration.sharedLLM()
      if let tokenizer = checkpoint.tokenizer.tokenizer {
        _ = tokenizer.decode(tokenizer.encode("Hello world", addingBeginOfText: true))
      }
    }
  }

  @Test func safetensors() throws {
    let checkpoint = TestCheckpoint()
    let bytes = checkpoint.safetensors(0..<4)
    let length = bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
    try FuzzedReader.run("safetensors", seeds: [Array(bytes[8..<8 + length])]) { text in
      let fileByteCount = 8 + text.count + bytes.count - 8 - length
      guard let header = try? SafetensorsHeader(parsing: text, fileByteCount: fileByteCount, file: "fuzz") else {
        return
      }
      for tensor in header.tensors { precondition(tensor.byteRange.upperBound <= fileByteCount) }
    }
  }

  @Test func configurations() throws {
    let checkpoint = TestCheckpoint()
    let plain = JSONValue.object(
      checkpoint.configuration.sorted { $0.key < $1.key }.map { .init($0.key, $0.value) })
    let members = plain.object ?? []
    let scaling = JSONValue.members([
      "rope_type": .string("llama3"), "factor": .number(8), "low_freq_factor": .number(1),
      "high_freq_factor": .number(4),
      "original_max_position_embeddings": .integer(64),
    ])
    let trees = JSONValue.members([
      "injected_layers": .integer(1), "injection_place": .string("bottom"), "chunk_size": .integer(16),
      "tree_depth": .integer(2), "leaf_ratio": .integer(2), "position_mode": .string("local"),
    ])
    let seeds = [
      plain, .object(members + [.init("rope_scaling", scaling), .init("sharedllm", trees)]),
      .object(members + [.init("encoder_config", plain), .init("num_cross_attn_layers", .integer(1))]),
    ]
    let scratch = try Scratch()
    try FuzzedReader.run("configuration", seeds: seeds.map(\.canonical)) { text in
      FuzzedReader.write(text, to: "\(scratch.path)/config.json")
      guard let configuration = try? HuggingFaceConfiguration(directory: scratch.path) else { return }
      _ = try? configuration.llama(isSharedLLM: false)
      _ = try? configuration.llama(isSharedLLM: true)
      _ = try? configuration.sharedLLM()
      _ = configuration.notes
    }
  }
}
