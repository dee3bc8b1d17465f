import SeededRandom

/// The words that tasks are made of, and filler sentences.
///
/// Words and templates are those of `Tools/train/tasks.py`, which teaches them: keep them the same.
enum TaskWords {
  /// The published noise of the passkey task. Source: A. Mohtashami, M. Jaggi, Landmark Attention, arXiv 2305.16300.
  static let noise = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."

  static let adjectives = words(
    """
    amber ancient bitter blue bold brave bright broken calm clever cold crimson curious dark distant eager early empty
    faint fierce final gentle golden grand green grey happy heavy hidden hollow honest humble icy idle kind late lazy
    light little lonely long loud lucky mellow merry mild narrow noble old pale patient plain proud quick quiet rapid
    rare red rich rough round royal rusty sharp short silent silver simple slow small smooth soft solid sour steep stern
    still strange strong sudden sweet swift tall tame tender thick thin tiny vast warm weary white wide wild wise yellow
    young
    """)

  static let nouns = words(
    """
    anchor apple arrow badge banner barrel basket beacon bell bird blade boat book bottle branch bridge bucket button
    cabin camel candle canyon castle cat chain chair cherry church circle clock cloud coat coin compass copper cottage
    cradle crown desert diamond doctor dragon drum eagle engine falcon farmer feather field finger fire flag flower
    forest fountain fox garden gate ghost giant glass glove grain guitar hammer harbor harvest hat hawk hill horse
    island jacket jewel journey kettle key king kitchen ladder lake lamp lantern leaf letter lion lizard market meadow
    mirror monkey moon mountain needle nest ocean orange orchard owl painter palace paper pearl pencil piano pigeon
    pilot planet pocket poet pony prince queen rabbit raven ribbon ring river robin rocket roof rope rose sailor salmon
    school shadow sheep ship shoe shovel singer soldier spider spoon spring star statue stone storm stove street sword
    table teacher temple tiger tower train tree trumpet tunnel turtle valley vessel village violin wagon wall watch
    water whale wheel window winter wolf wood
    """)

  static let names = words(
    """
    Abigail Adam Agnes Albert Alice Amos Andrew Anna Arthur Barbara Bernard Caleb Carl Cecil Charlotte Clara Daniel
    David Dinah Dorothy Edgar Edith Edmund Eliza Ellen Emma Ernest Esther Eugene Fanny Felix Flora Francis Frank George
    Grace Hannah Harold Harriet Helen Henry Hugh Ida Isaac Jacob James Jane Joseph Julia Kate Laura Leonard Louis Lucy
    Mabel Margaret Martha Martin Mary Matthew Maud Miriam Nathan Nora Oliver Oscar Patrick Paul Peter Philip Rachel
    Ralph Rebecca Robert Rose Ruth Samuel Sarah Silas Simon Sophia Stephen Susan Thomas Victor Walter William
    """)

  private static func words(_ text: String) -> [String] {
    text.split { $0 == " " || $0 == "\n" }.map(String.init)
  }

  /// An identifier in the form of a random UUID (RFC 9562, version 4).
  static func identifier(_ generator: inout SplitMix64) -> String {
    let high = generator.next() & 0xFFFF_FFFF_FFFF_0FFF | 0x4000
    let low = generator.next() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    func digits(_ value: UInt64, _ bits: Range<UInt64>) -> String {
      let text = String(value >> bits.lowerBound & (1 << UInt64(bits.count) - 1), radix: 16)
      return String(repeating: "0", count: bits.count / 4 - text.count) + text
    }
    return [
      digits(high, 32..<64), digits(high, 16..<32), digits(high, 0..<16), digits(low, 48..<64), digits(low, 0..<48),
    ].joined(separator: "-")
  }
}
