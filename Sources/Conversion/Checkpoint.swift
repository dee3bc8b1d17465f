import CanonicalJSON
import FileAccess

/// A directory in Hugging Face's layout: `config.json` and one safetensors file, or several under an index.
///
/// Links are followed, as a directory of the Hugging Face cache consists of them; names with a separator are refused.
struct Checkpoint: Sendable {
  struct Shard: Sendable {
    /// Without directory.
    let name: String
    let path: String
    let byteCount: Int
    let header: SafetensorsHeader
  }

  let directory: String
  let configurationPath: String
  let configuration: JSONValue
  let configurationText: [UInt8]
  /// Sorted by name.
  let shards: [Shard]
  /// Where each tensor is: shard and place in its header.
  let places: [String: (shard: Int, tensor: Int)]

  static let indexName = "model.safetensors.index.json"
  static let singleName = "model.safetensors"

  /// Reads `config.json` and the headers of all shards.
  /// - Throws: `Refusal` `missing-file`, `malformed-json`, `malformed-shard-index` or those of `SafetensorsHeader`.
  init(directory: String) throws(Refusal) {
    self.directory = directory
    guard Directory.exists(directory) == .directory else {
      throw Refusal(
        Directory.exists(directory) == nil ? .missingFile : .notADirectory, file: directory,
        "is not a directory with config.json and model.safetensors")
    }
    configurationPath = "\(directory)/config.json"
    configurationText = try SequentialFile.contents(configurationPath, limit: 1 << 20)
    configuration = try Self.json(configurationText, file: configurationPath)
    guard configuration.object != nil else {
      throw Refusal(.invalidConfiguration, file: configurationPath, "is not a JSON object")
    }

    let indexPath = "\(directory)/\(Self.indexName)"
    var homes: [String: String]?
    var names = [Self.singleName]
    if Directory.exists("\(directory)/\(Self.singleName)") == nil, Directory.exists(indexPath) != nil {
      let index = try Self.shardIndex(indexPath)
      homes = index
      names = Set(index.values).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
    var shards: [Shard] = []
    for name in names { shards.append(try Self.shard(name, directory: directory)) }
    var places: [String: (shard: Int, tensor: Int)] = [:]
    for (shardNumber, shard) in shards.enumerated() {
      for (number, tensor) in shard.header.tensors.enumerated() {
        if let homes, homes[tensor.name] != shard.name {
          throw Refusal(
            .malformedShardIndex, file: indexPath, structure: tensor.name,
            "is in \(shard.name), and the index \(homes[tensor.name].map { "says \($0)" } ?? "does not list it")")
        }
        places[tensor.name] = (shardNumber, number)
      }
    }
    if let homes, let missing = homes.keys.sorted().first(where: { places[$0] == nil }) {
      throw Refusal(
        .malformedShardIndex, file: indexPath, structure: missing,
        "the index says \(homes[missing] ?? ""), which does not hold it")
    }
    self.shards = shards
    self.places = places
  }

  func tensor(_ name: String) -> SafetensorsHeader.Tensor? {
    places[name].map { shards[$0.shard].header.tensors[$0.tensor] }
  }

  private static func shard(_ name: String, directory: String) throws(Refusal) -> Shard {
    let path = "\(directory)/\(name)"
    let file: SequentialFile
    do {
      file = try SequentialFile(path)
    } catch {
      guard error.name == .missingFile else { throw error }
      throw Refusal(
        .missingFile, file: path,
        name == singleName
          ? "is missing, and so is \(indexName); only safetensors checkpoints can be converted"
          : "is listed in \(indexName) and missing")
    }
    return Shard(name: name, path: path, byteCount: file.byteCount, header: try SafetensorsHeader(reading: file))
  }

  /// The file of each tensor.
  private static func shardIndex(_ path: String) throws(Refusal) -> [String: String] {
    func malformed(_ fault: String) -> Refusal {
      Refusal(.malformedShardIndex, file: path, structure: "weight_map", fault)
    }
    let text = try SequentialFile.contents(path, limit: SafetensorsHeader.headerByteLimit)
    guard let members = try json(text, file: path)["weight_map"]?.object, !members.isEmpty else {
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

  private static func json(_ text: [UInt8], file: String) throws(Refusal) -> JSONValue {
    do {
      return try JSONValue(parsing: text)
    } catch {
      throw Refusal(.malformedJSON, file: file, error.description)
    }
  }
}
