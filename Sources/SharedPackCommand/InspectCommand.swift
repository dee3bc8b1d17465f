import ArgumentParser
import CanonicalJSON
import Conversion
import FileAccess
import ModelPacks
import SharedPack
import TreeStore

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Explain a model pack, a tree store, one of its segments or a checkpoint.",
    discussion: """
      sharedpack inspect model.spk
      sharedpack inspect library --json
      sharedpack inspect Llama-2-7b-hf
      sharedpack inspect llama-2-7b.Q4_0.gguf

      Of a checkpoint it says what `convert` would make, or all that is in the way;
      then the exit status is 65.
      """)

  @Argument(
    help: "A model pack, a store's directory, a segment's file, a checkpoint's directory or GGUF.", completion: .file())
  var path: String

  @Flag(help: "List every tensor of a pack.")
  var tensors = false

  @Flag(help: "Print JSON for programs.")
  var json = false

  func run() throws {
    if CheckpointReport.recognizes(path) {
      let report = try CheckpointReport(of: path)
      if json {
        Console.output(CheckpointDescription.json(report))
      } else {
        Console.output(CheckpointDescription.text(report))
      }
      if report.plan == nil { throw ExitCode(ExitStatus.badInput.rawValue) }
      return
    }
    switch try Artifact(opening: path) {
    case .modelPack(let pack):
      if json {
        Console.output(PackDescription.json(pack))
      } else {
        Console.output(PackDescription.text(pack, listingTensors: tensors))
      }
    case .treeStore(let store):
      if json {
        Console.output(try StoreDescription.json(store))
      } else {
        Console.output(try StoreDescription.text(store))
      }
    case .segment(let segment):
      if json { Console.output(segment.json) } else { Console.output(segment.text) }
    }
  }
}

struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Check every byte of a model pack, a tree store or one of its segments.",
    discussion: """
      sharedpack verify model.spk
      sharedpack verify library

      Stops at the first fault; `sharedpack store fsck` lists all that is wrong with a
      store, and `sharedpack store repair` makes it good.
      """)

  @Argument(help: "A model pack, a store's directory, or a segment's file.", completion: .file())
  var path: String

  @OptionGroup var output: OutputOptions

  func run() throws {
    let bar = SharedProgress("Checking", mode: output.progress)
    let verified = try Artifact(opening: path).verify { bar.update($0, of: $1) }
    bar.finish()
    if output.json {
      Console.output(
        .members([
          "path": .string(path), "kind": .string(verified.kind.rawValue), "bytes": .integer(verified.byteCount),
          "identity": .string(verified.identity), "ok": .boolean(true),
        ]))
    } else {
      Console.output("\(path): good, \(Format.bytes(verified.byteCount)), \(verified.identity)")
    }
  }
}

/// A description of a pack.
enum PackDescription {
  static func text(_ pack: ModelPack, listingTensors: Bool) -> String {
    let c = pack.configuration
    var lines = [
      "pack        \(pack.path), \(Format.bytes(pack.byteCount))",
      "identity    \(pack.identity)",
      "model       LLaMA, \(c.layerCount) layers, hidden \(c.hiddenSize), MLP \(c.intermediateSize), "
        + "\(c.headCount) heads of \(c.headDim), \(c.kvHeadCount) key-value heads",
      "vocabulary  \(c.vocabularySize), window \(c.maxPositionCount), rope theta \(c.ropeTheta), scaling "
        + "\(c.ropeScaling)",
      "weights     \(weights(pack))",
    ]
    if let shared = pack.sharedLLM {
      lines.append(
        "documents   chunks of \(shared.chunkSize) tokens, depth \(shared.treeDepth), leaf ratio \(shared.leafRatio), "
          + "\(shared.injectedLayerCount) injected layers (\(shared.injectionPlace.rawValue)), positions \(shared.positionMode.rawValue), "
          + "\(shared.injection.rawValue)\(shared.injection == .mergedSoftmax ? " (untrained)" : ""), "
          + "lower model \(shared.lowerModel.rawValue)")
      if let e = shared.encoder {
        lines.append(
          "encoder     \(e.layerCount) layers, hidden \(e.hiddenSize), MLP \(e.intermediateSize), "
            + "\(e.headCount) heads of \(e.headDim), window \(e.maxPositionCount): its states are kept")
      }
    } else {
      lines.append("documents   none: a plain model")
    }
    lines.append("tokenizer   \(pack.tokenizer.map { "\(Format.bytes($0.count))" } ?? "none")")
    lines.append("chat        \(pack.chatTemplate.map { "a template of \(Format.bytes($0.utf8.count))" } ?? "none")")
    lines.append("converter   \(pack.provenance.converter)")
    if let licence = pack.provenance.licence { lines.append("licence     \(licence)") }
    for source in pack.provenance.sources {
      lines.append(
        "source      \(source.name), \(Format.bytes(source.byteCount)), SHA-256 \(source.digest)")
    }
    if listingTensors {
      for tensor in pack.tensors {
        lines.append(
          "\(tensor.name)\t\(tensor.encoding.name)\t\(tensor.rows) x \(tensor.columns)\t\(tensor.byteCount) bytes at "
            + "\(tensor.byteOffset)")
      }
    }
    return lines.joined(separator: "\n")
  }

  /// The encoding that the pack was converted to, and how many of its matrices are int8 all the same.
  private static func weights(_ pack: ModelPack) -> String {
    let weights = "\(pack.quantization.name), \(pack.tensors.count) tensors"
    guard case .int4 = pack.quantization else { return weights }
    return weights + ", \(pack.tensors.count { $0.encoding.name == "int8" }) of them int8"
  }

  static func json(_ pack: ModelPack) -> JSONValue {
    .members([
      "path": .string(pack.path),
      "bytes": .integer(pack.byteCount),
      "identity": .string(pack.identity.description),
      "metadata": pack.metadata,
      "injection": pack.sharedLLM.map {
        .string($0.injection == .mergedSoftmax ? "merged-softmax (untrained)" : "cross-attention")
      },
      "chat_template": pack.chatTemplate.map(JSONValue.string),
      "tokenizer_bytes": pack.tokenizer.map { .integer($0.count) },
      "tensors": .array(
        pack.tensors.map {
          .members([
            "name": .string($0.name), "encoding": .string($0.encoding.name), "rows": .integer($0.rows),
            "columns": .integer($0.columns), "byte_offset": .integer($0.byteOffset),
            "byte_count": .integer($0.byteCount), "sha256": .string($0.digest.description),
          ])
        }),
    ])
  }
}
