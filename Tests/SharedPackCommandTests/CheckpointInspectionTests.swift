import CanonicalJSON
import FileAccess
import Testing

/// `inspect` of a checkpoint: what it is, what `convert` would make, and all that is in the way.
@Suite struct CheckpointInspectionTests {
  @Test func convertible() throws {
    let workplace = try Workplace()
    try workplace.write(Array("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n".utf8), to: "plain/README.md")
    let outcome = try workplace.run("inspect", "plain")
    #expect(outcome.status == 0 && outcome.error == "")
    let lines = outcome.output.split(separator: "\n")
    #expect(
      lines.dropLast(2) == [
        "checkpoint  plain, Hugging Face",
        "model       LlamaForCausalLM, 3 layers, hidden 32, MLP 48, 4 heads of 8, 2 key-value heads",
        "vocabulary  288, window 128, rope theta 10000.0",
        "weights     133 kB in 1 file, 32480 parameters: F32 (29 tensors)",
        "tokenizer   288 tokens, from tokenizer.model",
        "chat        no template",
        "licence     apache-2.0",
      ], "\(outcome.output)")
    #expect(lines.suffix(2).first?.hasPrefix("convert     would write ") == true)
    #expect(lines.last?.hasPrefix("note        a plain model: ") == true)
    let trained = try workplace.run("inspect", "checkpoint")
    #expect(trained.output.hasSuffix("\ndocuments   can be read, as was trained\n"))
    let json = try JSONValue(parsing: Array(workplace.run("inspect", "checkpoint", "--json").output.utf8))
    #expect(json["convertible"] == .boolean(true) && json["obstacles"] == .array([]))
    #expect(json["plan"]?["injection"] == .string("cross-attention"))
    let size = try SequentialFile("\(workplace.path)/model.spk").byteCount
    #expect(json["plan"]?["pack_bytes"] == .integer(size))
  }

  /// Three sources with a fault each give three lines, and what can be read is still said.
  @Test func everyObstacle() throws {
    let workplace = try Workplace()
    let configuration = try SequentialFile.contents("\(workplace.path)/plain/config.json", limit: 1 << 20)
    try workplace.write(Array("{\n  \"hidden_act\": gelu\n}".utf8), to: "plain/config.json")
    try workplace.write(Array("<!DOCTYPE html>".utf8), to: "plain/model.safetensors")
    try workplace.write([0xFF], to: "plain/tokenizer.model")
    let outcome = try workplace.run("inspect", "plain")
    #expect(outcome.status == 65)
    var lines = outcome.output.split(separator: "\n")
    try #require(lines.count == 4, "\(outcome.output)")
    #expect(lines[0] == "checkpoint  plain, Hugging Face")
    #expect(
      lines[1] == "in the way  plain/config.json: line 2, column 17: no value starts with this byte [malformed-json]")
    #expect(lines[2].hasPrefix("in the way  plain/model.safetensors: is an HTML page"))
    #expect(lines[3].hasPrefix("in the way  plain/tokenizer.model: "))
    let json = try workplace.run("inspect", "plain", "--json")
    #expect(json.status == 65)
    let value = try JSONValue(parsing: Array(json.output.utf8))
    #expect(value["convertible"] == .boolean(false) && value["obstacles"]?.array?.count == 3)

    // With a configuration, the model is known. A byte order mark does no harm.
    try workplace.write([0xEF, 0xBB, 0xBF] + configuration, to: "plain/config.json")
    lines = try workplace.run("inspect", "plain").output.split(separator: "\n")
    #expect(lines.count == 5)
    #expect(lines[1] == "model       LlamaForCausalLM, 3 layers, hidden 32, MLP 48, 4 heads of 8, 2 key-value heads")
  }
}
