import ArgumentParser
import CanonicalJSON
import Conversion
import FileAccess
import ModelPacks
import SharedPack
import Tokenization

enum QuantizationArgument: String, ExpressibleByArgument, CaseIterable {
  case int8, int4, f16, f32
}

struct ConvertCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert",
    abstract: "Make a model pack from a Hugging Face directory or a GGUF file.",
    discussion: """
      sharedpack convert Llama-2-7b-hf model.spk
      sharedpack convert Llama-2-7b-hf model.spk --quantize int4 --calibrate book.txt
      sharedpack convert my-sharedllm model.spk --quantize f16
      sharedpack convert Llama-2-7b-hf model.spk --injected-layers 4
      sharedpack convert SmolLM2-135M-Instruct.Q4_1.gguf model.spk

      A SharedLLM checkpoint has layers that were trained to read documents, and so
      has one of CEPE, whose encoder is converted with it. With --injected-layers
      others can read them, untrained: do not expect good answers.

      With --calibrate the model first reads parts of a text, 16,384 tokens at most,
      and weights are then rounded so that its answers change least, instead of each
      to its nearest value: int4 comes several times closer to the checkpoint. Use
      text of the kind that the model will read. Until the pack is written, this
      takes the disk space of an int8 pack as well.

      An existing pack is replaced when the new one is whole; other files are not,
      without --force, and what is converted never is. An interruption leaves
      nothing; what a killed process leaves where the file system has no unnamed
      files, the next conversion to the same name removes.
      """)

  @Argument(
    help: "The directory with config.json, safetensors and the tokenizer, or a GGUF file.", completion: .file())
  var directory: String

  @Argument(help: "The pack to write.", completion: .file(extensions: ["spk"]))
  var output: String

  @Option(help: ArgumentHelp("How weights are stored: int8, int4, f16 or f32.", valueName: "form"))
  var quantize = QuantizationArgument.int8

  @Option(
    help: ArgumentHelp(
      """
      Columns that share a scale: a multiple of 4 for int8 (32, 64 or 128 by the hidden size if not given), of 8 \
      for int4 (64).
      """,
      valueName: "count"))
  var groupSize: Int?

  @Option(
    help: ArgumentHelp("For int8 and int4: a text to round the weights for.", valueName: "file"),
    completion: .file())
  var calibrate: String?

  @Option(
    help: ArgumentHelp(
      "For a plain checkpoint: bottom layers that read documents, by merged softmax, untrained.", valueName: "count"))
  var injectedLayers: Int?

  @Option(help: ArgumentHelp("With --injected-layers: tokens in a chunk.", valueName: "tokens"))
  var chunkSize: Int?

  @Option(help: ArgumentHelp("With --injected-layers: levels in a chunk's tree.", valueName: "levels"))
  var treeDepth: Int?

  @Option(
    help: ArgumentHelp("With --injected-layers: tokens for each kept row at the deepest level.", valueName: "tokens"))
  var leafRatio: Int?

  @Option(
    help: ArgumentHelp(
      """
      Instead of the checkpoint's own: one of its others or \(ChatTemplate.builtInNames.joined(separator: ", ")) by name, \
      a file with a Jinja program, or none.
      """, valueName: "name"),
    completion: .file(extensions: ["jinja"]))
  var chatTemplate: String?

  @Option(
    help: ArgumentHelp(
      "The licence of the weights, to be recorded in the pack; a GGUF file may name its own.", valueName: "name"))
  var licence: String?

  @Flag(help: "Report the size of the pack and the memory that conversion needs, and write nothing.")
  var dryRun = false

  @Flag(help: "Replace the output even if it is no pack, but some other file that is not converted.")
  var force = false

  @OptionGroup var outputOptions: OutputOptions

  func run() throws {
    var options = ModelConversion.Options()
    options.encoding =
      switch quantize {
      case .int8: groupSize.map { .int8(groupSize: $0) }
      case .int4: .int4(groupSize: groupSize ?? 64)
      case .f16: .float16
      case .f32: .float32
      }
    options.injectedLayers = injectedLayers
    options.chunkSize = chunkSize
    options.treeDepth = treeDepth
    options.leafRatio = leafRatio
    options.licence = licence
    if let chatTemplate { options.chatTemplate = try Self.choice(chatTemplate) }
    options.converter = "sharedpack \(SharedPackCommand.configuration.version)"
    let conversion = try ModelConversion(directory: directory, options: options, calibrationText: calibrate)
    let plan = conversion.plan
    let rule: OutputRule = force ? .anyRegularFile : .pack
    if dryRun {
      try conversion.outputFile(output, replacing: rule)
      return show(plan)
    }
    var step = ModelConversion.Step.converting
    var bar = ProgressBar(step, mode: outputOptions.progress)
    let summary = try conversion.run(output: output, replacing: rule) { progress in
      if progress.step != step {
        bar.finish()
        step = progress.step
        bar = ProgressBar(step, mode: outputOptions.progress)
      }
      bar.update(progress.done, of: progress.total)
    }
    bar.finish()
    for remark in plan.remarks { Console.error("sharedpack: \(remark)") }
    if outputOptions.json {
      Console.output(
        .members([
          "pack": .string(output), "bytes": .integer(summary.packByteCount),
          "identity": .string(summary.identity.description), "injection": plan.injection,
          "notes": .array(plan.notes.map(JSONValue.string)),
          "sources": .array(
            summary.sources.map {
              .members([
                "name": .string($0.name), "bytes": .integer($0.byteCount), "sha256": .string($0.digest.description),
              ])
            }),
        ]))
    } else {
      Console.output("\(output): \(Format.bytes(summary.packByteCount)), identity \(summary.identity)")
    }
  }

  private static func choice(_ argument: String) throws -> ModelConversion.ChatTemplateChoice {
    if argument == "none" { return .none }
    guard !ChatTemplate.builtInNames.contains(argument), Directory.exists(argument) != nil else {
      return .named(argument)
    }
    let text = try SequentialFile.contents(argument, limit: ChatTemplate.sourceByteCountLimit)
    return .program(String(decoding: text, as: UTF8.self), file: argument)
  }

  private func show(_ plan: ConversionPlan) {
    if outputOptions.json {
      Console.output(
        .members([
          "source_bytes": .integer(plan.sourceByteCount), "pack_bytes": .integer(plan.packByteCount),
          "memory_bytes": .integer(plan.memoryByteCount),
          "tensors": .integer(plan.tensors.count),
          "weights": .string(plan.quantization.name), "has_tokenizer": .boolean(plan.hasTokenizer),
          "injection": plan.injection, "notes": .array(plan.notes.map(JSONValue.string)),
        ]))
    } else {
      Console.output(
        """
        would read   \(Format.bytes(plan.sourceByteCount)) in \(Format.count(plan.sources.count, "file"))
        would write  \(Format.bytes(plan.packByteCount)), \(plan.tensors.count) tensors, \
        weights \(plan.quantization.name)
        buffers      \(Format.bytes(plan.memoryByteCount))
        tokenizer    \(plan.hasTokenizer ? "found" : "none found")
        """)
      for remark in plan.remarks { Console.error("sharedpack: \(remark)") }
    }
  }
}

extension ConversionPlan {
  /// What a person should know about the pack, a line each.
  var remarks: [String] {
    var remarks = notes
    if !unusedTensors.isEmpty { remarks.append("not used: \(unusedTensors.joined(separator: ", "))") }
    switch sharedLLM?.injection {
    case .crossAttention: break
    case .mergedSoftmax: remarks.append("documents will be injected untrained (merged softmax)")
    case nil:
      remarks.append(
        "a plain model: it reads texts deeply or exactly; context trees take --injected-layers, and are untrained"
      )
    }
    if !hasTokenizer { remarks.append("no tokenizer was found: the pack takes token ids only") }
    return remarks
  }

  /// How documents are read; nil if they are not.
  var injection: JSONValue? {
    sharedLLM.map { .string($0.injection == .mergedSoftmax ? "merged-softmax (untrained)" : "cross-attention") }
  }
}

extension ProgressBar {
  fileprivate init(_ step: ModelConversion.Step, mode: ProgressMode) {
    switch step {
    case .convertingForCalibration: self.init("Converting for calibration", unit: .bytes, mode: mode)
    case .calibrating: self.init("Calibrating", unit: .tokens, mode: mode)
    case .converting: self.init("Converting", unit: .bytes, mode: mode)
    }
  }
}
