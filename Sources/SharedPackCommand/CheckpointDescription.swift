import CanonicalJSON
import Conversion
import FileAccess
import ModelPacks

/// A description of a checkpoint: what it is, what `convert` would do, and what is in the way.
enum CheckpointDescription {
  static func text(_ report: CheckpointReport) -> String {
    var lines = ["checkpoint  \(report.path), \(report.layout.rawValue)"]
    let architecture = report.architecture ?? "LLaMA"
    if let c = report.configuration {
      lines += [
        "model       \(architecture), \(c.layerCount) layers, hidden \(c.hiddenSize), MLP \(c.intermediateSize), "
          + "\(c.headCount) heads of \(c.headDim), \(c.kvHeadCount) key-value heads",
        "vocabulary  \(c.vocabularySize), window \(c.maxPositionCount), rope theta \(c.ropeTheta)",
      ]
    } else if report.architecture != nil {
      lines.append("model       \(architecture)")
    }
    if !report.weights.isEmpty {
      let types = report.elementTypes.map { "\($0.name) (\(Format.count($0.tensorCount, "tensor")))" }
      lines.append(
        "weights     \(Format.bytes(report.weightByteCount)) in \(Format.count(report.weights.count, "file")), "
          + "\(parameters(report.parameterCount)): \(types.joined(separator: ", "))")
    }
    if let count = report.tokenCount {
      let files = report.tokenizerFiles.isEmpty ? "the file" : report.tokenizerFiles.joined(separator: ", ")
      lines.append("tokenizer   \(Format.count(count, "token")), from \(files)")
      lines.append("chat        \(report.hasChatTemplate ? "has a template" : "no template")")
    } else if report.tokenizerFiles.isEmpty, report.plan != nil {
      lines.append("tokenizer   none")
    }
    if let licence = report.licence { lines.append("licence     \(licence)") }
    if let plan = report.plan {
      lines.append(
        "convert     would write \(Format.bytes(plan.packByteCount)) in \(plan.quantization.name), "
          + "with \(Format.bytes(plan.memoryByteCount)) of buffers")
      if plan.sharedLLM?.injection == .crossAttention { lines.append("documents   can be read, as was trained") }
      lines += plan.remarks.map { "note        \($0)" }
    } else {
      lines += report.obstacles.map { "in the way  \($0.message)" }
    }
    return lines.joined(separator: "\n")
  }

  private static func parameters(_ count: Int) -> String {
    count < 1_000_000
      ? Format.count(count, "parameter")
      : count < 1_000_000_000
        ? "\(Format.rounded(Double(count) / 1e6)) million parameters"
        : "\(Format.rounded(Double(count) / 1e9)) billion parameters"
  }

  static func json(_ report: CheckpointReport) -> JSONValue {
    .members([
      "path": .string(report.path), "kind": .string("checkpoint"), "layout": .string(report.layout.rawValue),
      "convertible": .boolean(report.plan != nil), "architecture": report.architecture.map(JSONValue.string),
      "configuration": report.configuration.map { c in
        .members([
          "hidden_size": .integer(c.hiddenSize), "intermediate_size": .integer(c.intermediateSize),
          "layers": .integer(c.layerCount), "heads": .integer(c.headCount), "key_value_heads": .integer(c.kvHeadCount),
          "head_dim": .integer(c.headDim), "vocabulary_size": .integer(c.vocabularySize),
          "window": .integer(c.maxPositionCount),
        ])
      },
      "weights": .members([
        "files": .integer(report.weights.count), "bytes": .integer(report.weightByteCount),
        "parameters": .integer(report.parameterCount),
        "types": .array(
          report.elementTypes.map { .members(["name": .string($0.name), "tensors": .integer($0.tensorCount)]) }),
      ]),
      "tokenizer": report.tokenCount.map {
        .members([
          "tokens": .integer($0), "files": .array(report.tokenizerFiles.map(JSONValue.string)),
          "chat_template": .boolean(report.hasChatTemplate),
        ])
      },
      "licence": report.licence.map(JSONValue.string),
      "plan": report.plan.map {
        .members([
          "pack_bytes": .integer($0.packByteCount), "memory_bytes": .integer($0.memoryByteCount),
          "weights": .string($0.quantization.name), "injection": $0.injection,
          "notes": .array($0.notes.map(JSONValue.string)),
        ])
      },
      "obstacles": .array(
        report.obstacles.map {
          .members([
            "name": .string($0.name.text), "file": .string($0.file), "structure": .string($0.structure),
            "fault": .string($0.fault),
          ])
        }),
    ])
  }
}
