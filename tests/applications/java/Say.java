import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What scenario.md says of values, for both clients: {@code say(step, values...)} prints a line. */
final class Say {
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private Say() {}

    static String text(Object value) {
        if (value == null) {
            return "nil";
        } else if (value instanceof Boolean) {
            return (Boolean) value ? "1" : "0";
        } else if (value instanceof Double) {
            String text = String.format(Locale.ROOT, "%.4f", (Double) value);
            return text.replaceAll("\\.?0+$", "");
        } else if (value instanceof byte[]) {
            return text(new String((byte[]) value, StandardCharsets.UTF_8));
        } else if (value instanceof Map) {
            List<String> pairs = new ArrayList<>();
            new TreeMap<>((Map<?, ?>) value).forEach((key, one) -> pairs.add(key + "=" + text(one)));
            return "{" + String.join(" ", pairs) + "}";
        } else if (value instanceof Collection) {
            List<String> words = new ArrayList<>();
            ((Collection<?>) value).forEach(one -> words.add(text(one)));
            return "[" + String.join(" ", words) + "]";
        }
        return "OK".equals(value) ? "1" : value.toString();
    }

    static void say(String step, Object... values) {
        List<String> words = new ArrayList<>();
        for (Object value : values) {
            words.add(text(value));
        }
        OUT.println(step + ": " + String.join(" ", words));
    }

    static Object ordered(Collection<String> members) {
        return new TreeSet<>(members);
    }

    static String scored(Object member, double score) {
        return member + "=" + text(score);
    }

    /** The first word of the error that it throws. */
    static String error(Supplier<?> call) {
        try {
            return text(call.get());
        } catch (RuntimeException error) {
            return error.getMessage().split(" ")[0];
        }
    }

    static String protocol(String clientInfo) {
        Matcher found = Pattern.compile("resp=(\\d)").matcher(clientInfo);
        return found.find() ? found.group(1) : "?";
    }

    static void until(Supplier<Boolean> condition) throws InterruptedException {
        while (!condition.get()) {
            Thread.sleep(5);
        }
    }
}
