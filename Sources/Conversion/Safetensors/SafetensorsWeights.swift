import CanonicalJSON
import FileAccess

/// The weights of a directory in Hugging Face's layout: one safetensors file, or several under an index. Without an
/// index, shards whose names say that they are all there are read as they are.
///
/// Links are followed, as a directory of the Hugging Face cache consists of them; names with a separator are refused.
struct SafetensorsWeights: WeightSource {
  /// The directory.
  let path: String
  /// Sorted by name.
  let files: [WeightFile]
  let notes: [String]

  static let indexName = "model.safetensors.index.json"
  static let singleName = "model.safetensors"

  /// Reads the headers of all files.
  /// - Throws: `Refusal` `missing-file`, `malformed-json`, `malformed-shard-index`, `unsupported-format` or those of
  ///   `SafetensorsHeader`.
  init(directory: String) throws(Refusal) {
    path = directory
    let indexPath = "\(directory)/\(Self.indexName)"
    var homes: [String: String]?
    var names = [Self.singleName]
    var notes: [String] = []
    if try Directory.kind(of: "\(directory)/\(Self.singleName)") != nil {
    } else if try Directory.kind(of: indexPath) != nil {
      let index = try Self.shardIndex(indexPath)
      homes = index
      names = Set(index.values).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    } else {
      let all = try Directory.names(in: directory)
      names = try ShardName.checkpoint(all, directory: directory)
      guard !names.isEmpty else { throw Self.nothingToRead(all, directory: directory) }
      if names.count > 1 {
        notes.append("\(directory): no \(Self.indexName): the \(names.count) shards are read as they are")
      }
    }
    self.notes = notes
    var files: [WeightFile] = []
    for name in names { files.append(try Self.file(name, directory: directory)) }
    self.files = files
    if let homes { try Self.check(files, homes, indexPath: indexPath) }
  }

  /// The index and the files must agree on every tensor.
  private static func check(
    _ files: [WeightFile], _ homes: [String: String], indexPath: String
  ) throws(Refusal) {
    var seen: Set<String> = []
    for file in files {
      for tensor in file.tensors {
        guard homes[tensor.name] == file.name else {
          throw Refusal(
            .malformedShardIndex, file: indexPath, structure: tensor.name,
            "is in \(file.name), and the index \(homes[tensor.name].map { "says \($0)" } ?? "does not list it")")
        }
        seen.insert(tensor.name)
      }
    }
    if let missing = homes.keys.sorted().first(where: { !seen.contains($0) }) {
      throw Refusal(
        .malformedShardIndex, file: indexPath, structure: missing,
        "the index says \(homes[missing] ?? ""), which does not hold it")
    }
  }

  func open(_ number: Int) throws(Refusal) -> any WeightReader { try WeightFileReader(files[number].path) }

  private static func file(_ name: String, directory: String) throws(Refusal) -> WeightFile {
    let path = "\(directory)/\(name)"
    let file: SequentialFile
    do {
      file = try SequentialFile(path)
    } catch {
      guard error.name == .missingFile, name != singleName else { throw error }
      throw Refusal(.missingFile, file: path, "is listed in \(indexName) and missing")
    }
    let header = try SafetensorsHeader(reading: file)
    return WeightFile(name: name, path: path, byteCount: file.byteCount, tensors: header.tensors.map(SourceTensor.init))
  }

  /// - Parameter names: of all files in the directory.
  private static func nothingToRead(_ names: [String], directory: String) -> Refusal {
    if names.contains(singleName) {
      return Refusal(.missingFile, file: "\(directory)/\(singleName)", "is a link that leads nowhere")
    }
    if names.contains("adapter_model.safetensors") {
      return Refusal(
        .unsupportedFormat, file: "\(directory)/adapter_model.safetensors",
        "is an adapter's, not a model's: merge the adapter into the model that it was trained for")
    }
    let endings = [".bin", ".bin.index.json", ".pt", ".pth", ".ckpt"]
    let files = names.filter { name in endings.contains { name.hasSuffix($0) } && name != "training_args.bin" }
    if let name = files.first(where: { $0.hasPrefix("pytorch_model") }) ?? files.first {
      return Refusal(
        .unsupportedFormat, file: "\(directory)/\(name)",
        "is PyTorch's own format, which can run code when it is read: convert the checkpoint to safetensors first")
    }
    return Refusal(
      .missingFile, file: "\(directory)/\(singleName)",
      "is missing, and so are \(indexName) and shards; only safetensors checkpoints can be converted")
  }

  /// The file of each tensor.
  private static func shardIndex(_ path: String) throws(Refusal) -> [String: String] {
    func malformed(_ fault: String) -> Refusal {
      Refusal(.malformedShardIndex, file: path, structure: "weight_map", fault)
    }
    let text = try SequentialFile.contents(path, limit: SafetensorsHeader.headerByteLimit)
    guard let members = try JSONValue(parsing: text, file: path)["weight_map"]?.object, !members.isEmpty else {
      throw malformed("is missing or empty")
    }
    guard members.count <= SafetensorsHeader.tensorLimit else { throw malformed("has too many tensors") }
    var homes: [String: String] = [:]
    for member in members {
      guard let name = member.value.string else { throw malformed("\(member.key) is not in a file") }
      // A name that is only a name cannot lead out of the directory.
      guard name.hasSuffix(".safetensors"), !name.hasPrefix("."), !name.utf8.contains(UInt8(ascii: "/")),
        !name.utf8.contains(0), name.utf8.count <= 255
      else { throw malformed("\"\(name)\" is not the name of a safetensors file in this directory") }
      homes[member.key] = name
    }
    guard Set(homes.values).count <= 4096 else { throw malformed("names more than 4096 files") }
    return homes
  }
}

extension SourceTensor {
  fileprivate init(_ tensor: SafetensorsHeader.Tensor) {
    self.init(
      name: tensor.name, shape: tensor.shape, byteRange: tensor.byteRange, typeName: tensor.elementType,
      blocks: NumberBlocks(safetensors: tensor.elementType))
  }
}
